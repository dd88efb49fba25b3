"""What is looked at in llama.cpp: files of several types, the tokens and the prompts, beside ours."""

import torch

from minikin.ship.llamacpp import LlamaCpp
from minikin.ship.looks import QUESTIONS, TEXTS, Look, Subject, same_prompts, same_tokens
from minikin.text.chat import Message

# how far our logits may be apart where another token comes out likeliest: what the rounding of a type can turn round
_TIES = {"f32": 1e-2, "bf16": 1e-2, "q8_0": 0.5, "q4_0": 2.0}


def _as_stored(subject: Subject) -> tuple[bool, str]:
    return _next_tokens(subject, _stored_kind(subject))


def _in_8_bits(subject: Subject) -> tuple[bool, str]:
    return _next_tokens(subject, "q8_0")


def _in_4_bits(subject: Subject) -> tuple[bool, str]:
    return _next_tokens(subject, "q4_0")


def _tokenizer(subject: Subject) -> tuple[bool, str]:
    return same_tokens(subject, subject.in_llamacpp(_stored_kind(subject)).tokenize_all(TEXTS))


def _chat_template(subject: Subject) -> tuple[bool, str]:
    engine = subject.in_llamacpp(_stored_kind(subject))
    rendered = [engine.prompt([Message(role="user", content=text)]) for text in QUESTIONS]
    # llama.cpp takes <bos> off the text and puts it before the tokens: it must not come twice, nor not at all
    return same_prompts(subject, [engine.tokenize(text, parse_special=True, add_special=True) for text in rendered])


def _stored_kind(subject: Subject) -> str:
    return "f32" if subject.decoder.embed_tokens.weight.dtype == torch.float32 else "bf16"


def _next_tokens(subject: Subject, kind: str) -> tuple[bool, str]:
    """Along our answers, whether the likeliest next token is ours, or nearly as likely to us."""
    engine, same, gaps = subject.in_llamacpp(kind), 0, []
    for prompt, answer in zip(subject.prompts, subject.answers, strict=True):
        ours = subject.logits(prompt, answer)
        for at in range(len(answer)):
            theirs = _likeliest(engine, [*prompt, *answer[:at]])
            gap = float(ours[at].max() - ours[at, theirs])
            same += gap == 0
            gaps.append(gap)
    found = f"{kind}: {same} of {len(gaps)} next tokens are ours"
    return max(gaps) <= _TIES[kind], found + (f", the others {max(gaps):.2g} less likely to us" if max(gaps) else "")


def _likeliest(engine: LlamaCpp, tokens: list[int]) -> int:
    return engine.log_probabilities(tokens, 1)[0][0]


looks: tuple[Look, ...] = (_as_stored, _in_8_bits, _in_4_bits, _tokenizer, _chat_template)
