"""The tokenizer: BPE with byte fallback and `▁` for the space, as Gemma's and as llama.cpp's "gemma4" reads it.

Any text survives encoding and decoding, except that a literal `▁` (U+2581) comes back as a space, as in Gemma.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, final

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers, trainers
from tokenizers.models import BPE

from minikin.base.errors import DataError, TokenizerError

SPECIALS = ("<pad>", "<eos>", "<bos>", "<unk>", "<|turn>", "<turn|>")
_BYTES = tuple(f"<0x{value:02X}>" for value in range(256))
_FIXED = len(SPECIALS) + len(_BYTES)
TOKENIZER, SETTINGS, TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"


@final
class Tokenizer:
    """Text to token ids and back. Special tokens may have any ids, but Gemma 4's spellings."""

    def __init__(self, inner: tokenizers.Tokenizer) -> None:
        ids = {text: index for text in SPECIALS if (index := inner.token_to_id(text)) is not None}
        if missing := [text for text in SPECIALS if text not in ids]:
            raise TokenizerError(f"tokenizer: has no {', '.join(missing)}; Gemma 4's special tokens are needed")
        self.pad_id, self.eos_id, self.bos_id, _, self.turn_start_id, self.turn_end_id = ids.values()
        inner.no_truncation()
        inner.no_padding()
        # text that happens to spell a special token is text
        inner.encode_special_tokens = True
        # it would keep the tokens of the last ten thousand texts, 34 MB of them, and hardly a text comes twice
        inner.model._resize_cache(0)
        self._inner = inner

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return self._inner.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without any special token."""
        return self._inner.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens left out."""
        return self._inner.decode(list(ids), skip_special_tokens=True)

    def bytes_of(self, token: int) -> bytes:
        """What one token says: the bytes of its text, of which some are no whole characters; none of a special one."""
        piece = self._inner.id_to_token(token) or ""
        if piece in _BYTES:
            return bytes([int(piece[3:5], 16)])
        return self.decode([token]).encode()

    def piece_of(self, token: int) -> str:
        """How the vocabulary writes a token, also a special one, which has no text; nothing if there is none."""
        return self._inner.id_to_token(token) or ""

    def save(self, folder: Path, model_max_length: int, chat_template: str) -> None:
        """Write what Transformers' AutoTokenizer and llama.cpp's converter read."""
        # compact: merges are most of the file
        (folder / TOKENIZER).write_text(self._inner.to_str(), encoding="utf-8")
        settings = {
            "tokenizer_class": "TokenizersBackend",
            **{f"{name}_token": f"<{name}>" for name in ("bos", "eos", "pad", "unk")},
            "model_max_length": model_max_length,
            "clean_up_tokenization_spaces": False,
        }
        (folder / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        (folder / TEMPLATE).write_text(chat_template, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """Read a saved tokenizer; raises TokenizerError if it is missing, damaged or of another kind."""
        path = folder / TOKENIZER
        try:
            text = path.read_text(encoding="utf-8")
            stored = json.loads(text)
        except FileNotFoundError as error:
            raise TokenizerError(f"{folder}: has no {TOKENIZER}; without it there is no text") from error
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise TokenizerError(f"{path}: is damaged ({error}); build the member again") from error
        model = stored.get("model") if isinstance(stored, dict) else None
        if not isinstance(model, dict):
            raise TokenizerError(f"{path}: holds no tokenizer; it was written by another program")
        # a prefix set here has made the library abort the whole process
        if model.get("type") != "BPE" or model.get("continuing_subword_prefix") or not model.get("byte_fallback"):
            raise TokenizerError(f"{path}: holds a {model.get('type')!r} tokenizer; only Gemma's kind of BPE is read")
        try:
            return cls(tokenizers.Tokenizer.from_str(text))
        except Exception as error:  # the library raises nothing more specific
            raise TokenizerError(f"{path}: {' '.join(str(error).split())}") from error

    @classmethod
    def of_bytes(cls, vocab_size: int) -> "Tokenizer":
        """A tokenizer that has learned nothing: every byte is a token, the other entries are `<unusedN>`.

        But for two spaces, which are one: llama.cpp loads no tokenizer that merges nothing.
        """
        return cls(_assembled(_model(["▁", "▁▁"], [("▁", "▁")], vocab_size)))

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> "Tokenizer":
        """Learn merges from texts; entries that the texts do not fill become `<unusedN>`."""
        if vocab_size < _FIXED + 2:
            raise DataError(f"tokenizer.vocab_size: found {vocab_size}; at least {_FIXED + 2} are needed")
        return cls(_assembled(_model(*_learned(texts, vocab_size - _FIXED), vocab_size)))


def _model(learned: list[str], merges: list[tuple[str, str]], vocab_size: int) -> BPE:
    unused = (f"<unused{number}>" for number in range(vocab_size))
    pieces = [*SPECIALS, *_BYTES, *learned]
    pieces += [next(unused) for _ in range(vocab_size - len(pieces))]
    return BPE(
        vocab={piece: index for index, piece in enumerate(pieces)},
        merges=merges,
        byte_fallback=True,
        unk_token="<unk>",
        fuse_unk=True,
    )


def _assembled(model: BPE) -> tokenizers.Tokenizer:
    inner = tokenizers.Tokenizer(model)
    inner.normalizer = normalizers.Replace(" ", "▁")
    inner.decoder = tokenizers.decoders.Sequence(
        [
            tokenizers.decoders.Replace("▁", " "),
            tokenizers.decoders.ByteFallback(),
            tokenizers.decoders.Fuse(),
        ]
    )
    inner.add_special_tokens([tokenizers.AddedToken(text, special=True, normalized=False) for text in SPECIALS])
    return inner


def _learned(texts: Iterable[str], count: int) -> tuple[list[str], list[tuple[str, str]]]:
    """At most `count` pieces and the merges that make them, found within words only.

    The shipped tokenizer splits nothing; it meets the same merges because none crosses a word's edge.
    """
    trainee = tokenizers.Tokenizer(BPE())
    trainee.normalizer = normalizers.Replace(" ", "▁")
    trainee.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("▁", "merged_with_next"),
            pre_tokenizers.Split(Regex(r"[\n\d]|[^\w\s▁]"), "isolated"),
        ]
    )
    texts = list(texts)
    alphabet = _alphabet(texts, count // 2)
    # the limit keeps every other character out: among equally frequent ones the library picks another set every run
    trainer: Any = trainers.BpeTrainer(
        vocab_size=count, show_progress=False, initial_alphabet=alphabet, limit_alphabet=len(alphabet)
    )
    trainee.train_from_iterator(texts, trainer)
    model = json.loads(trainee.to_str())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].__getitem__)
    if not pieces:
        raise DataError("tokenizer: the training texts are empty; check the recipe's data")
    return pieces, [(left, right) for left, right in model["merges"]]


def _alphabet(texts: Iterable[str], count: int) -> list[str]:
    """The `count` most frequent characters as the normaliser leaves them; of equally frequent ones the lower codes."""
    found: Counter[str] = Counter()
    for text in texts:
        found.update(text.replace(" ", "▁"))
    return sorted(found, key=lambda character: (-found[character], character))[:count]
