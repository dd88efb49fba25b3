"""What is looked at in llama.cpp: files of several types, the tokens and the prompts, beside ours."""

from minikin.ship.llamacpp import LlamaCpp
from minikin.ship.looks import QUESTIONS, TEXTS, Found, Look, Subject, same_prompts, same_tokens
from minikin.text.chat import Message

# how far our logits may be apart where another token comes out likeliest: what the rounding of a type can turn round
_TIES = {"f32": 1e-2, "f16": 5e-2, "q8_0": 0.5, "q4_0": 2.0}
# of the spread of logits: random layers carry every rounding on and on, llama.cpp's GELU in float16 to begin with
_RANDOM_TIE = 0.1
# and how many of the likeliest tokens have to be ours all the same
_LEAST = {"f32": 0.95, "f16": 0.95, "q8_0": 0.9, "q4_0": 0.75}
_RANDOM_LEAST = 0.75


def _exact_weights(subject: Subject) -> Found:
    return _next_tokens(subject, subject.exact_kind)


def _in_8_bits(subject: Subject) -> Found:
    return _rounded(subject, "q8_0")


def _in_4_bits(subject: Subject) -> Found:
    return _rounded(subject, "q4_0")


def _tokenizer(subject: Subject) -> Found:
    return same_tokens(subject, subject.in_llamacpp(subject.exact_kind).tokenize_all(TEXTS))


def _chat_template(subject: Subject) -> Found:
    engine = subject.in_llamacpp(subject.exact_kind)
    rendered = [engine.prompt([Message(role="user", content=text)]) for text in QUESTIONS]
    # llama.cpp takes <bos> off the text and puts it before the tokens: it must not come twice, nor not at all
    return same_prompts(subject, [engine.tokenize(text, parse_special=True, add_special=True) for text in rendered])


def _rounded(subject: Subject, kind: str) -> Found:
    """The same of rounded weights. What random ones make of rounding is as random as they are."""
    good, found = _next_tokens(subject, kind)
    subject.forget(kind)
    return (good, found) if subject.is_trained else (None, f"{found}; not judged, for it is not trained")


def _next_tokens(subject: Subject, kind: str) -> Found:
    """Along our answers, whether the likeliest next token is ours, or nearly as likely to us."""
    engine, same, gaps, ties = subject.in_llamacpp(kind), 0, [], True
    for prompt, answer in zip(subject.prompts, subject.answers, strict=True):
        ours = subject.logits(prompt, answer)
        tie = _TIES[kind] if subject.is_trained else _RANDOM_TIE * float(ours.std())
        for at in range(len(answer)):
            theirs = _likeliest(engine, [*prompt, *answer[:at]])
            gap = float(ours[at].max() - ours[at, theirs])
            same += gap == 0
            gaps.append(gap)
            ties = ties and gap <= tie
    found = f"{kind}: {same} of {len(gaps)} next tokens are ours"
    good = ties and same >= (_LEAST[kind] if subject.is_trained else _RANDOM_LEAST) * len(gaps)
    return good, found + (f", the others {max(gaps):.2g} less likely to us" if max(gaps) else "")


def _likeliest(engine: LlamaCpp, tokens: list[int]) -> int:
    return engine.log_probabilities(tokens, 1)[0][0]


looks: tuple[Look, ...] = (_exact_weights, _in_8_bits, _in_4_bits, _tokenizer, _chat_template)
