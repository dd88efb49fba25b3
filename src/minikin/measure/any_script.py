"""Words of any script, for metrics that count shared ones."""

import re
from functools import lru_cache
from unicodedata import category, normalize

from rouge_score.tokenizers import DefaultTokenizer, Tokenizer

# scripts without spaces between words: Thai, Lao; Burmese; Khmer; Japanese kana, Bopomofo; Chinese characters
_UNSPACED = (
    "\u0e00-\u0eff"
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"
    "\u1780-\u17ff"
    "\u3040-\u312f\u31a0-\u31bf\u31f0-\u31ff\uff66-\uff9f\U0001aff0-\U0001b16f"
    "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_LAST_MARK = 0xE01EF  # the last variation selector; Unicode has no combining mark beyond


class AnyScript(Tokenizer):
    """rouge-score's words of ASCII texts, and those of all others, of which it drops what is not a to z or 0 to 9.

    A word is a run of letters, digits and their combining marks, lower-cased and in NFC. Where a script has no spaces
    between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) every letter with its marks is a word, as is usual for
    ROUGE there; Korean has spaces. Words of ASCII letters are stemmed as rouge-score does, by Porter's rules, which are
    English's; others are left as they are.
    """

    def __init__(self) -> None:
        self._ascii = DefaultTokenizer(use_stemmer=True)

    def tokenize(self, text: str) -> list[str]:
        """The words of a text, in its order."""
        found = _words().findall(normalize("NFC", text.lower()))
        return [each for word in found for each in (self._ascii.tokenize(word) if word.isascii() else [word])]


@lru_cache(maxsize=1)
def _words() -> re.Pattern[str]:
    # \w knows no combining mark: words of Hindi or Tamil would fall apart
    marks = "".join(chr(code) for code in range(_LAST_MARK + 1) if category(chr(code)).startswith("M"))
    alone, joined = rf"(?=[{_UNSPACED}])[^\W_]", rf"(?![{_UNSPACED}])[^\W_]"
    return re.compile(rf"{alone}[{marks}]*|{joined}(?:{joined}|[{marks}])*")
