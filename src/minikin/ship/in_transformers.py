"""What is looked at in Transformers: the weights, the logits, the tokens and the prompts, beside ours."""

import importlib
from typing import Any

import torch

from minikin.ship.looks import QUESTIONS, TEXTS, Found, Look, Subject, same_prompts, same_tokens

_CLOSE = 1e-3  # between logits of about 10 in float32, summed in another order
_WRONG = ("missing_keys", "unexpected_keys", "mismatched_keys")


def _loads(subject: Subject) -> Found:
    _, told = subject.in_transformers
    wrong = {name: sorted(map(str, told[name])) for name in _WRONG if told[name]}
    return not wrong, str(wrong) if wrong else "every weight has its place, none is missing"


def _logits(subject: Subject) -> Found:
    model, _ = subject.in_transformers
    apart = 0.0
    for prompt, answer in zip(subject.prompts, subject.answers, strict=True):
        with torch.inference_mode():
            theirs = model(torch.tensor([[*prompt, *answer[:-1]]])).logits[0, len(prompt) - 1 :]
        apart = max(apart, (theirs - subject.logits(prompt, answer)).abs().max().item())
    return apart <= _CLOSE, f"at most {apart:.1e} apart along {sum(map(len, subject.answers))} tokens"


def _tokenizer(subject: Subject) -> Found:
    # ours never reads markup in what is said
    encoded = (_their_tokenizer(subject)(text, add_special_tokens=False, split_special_tokens=True) for text in TEXTS)
    return same_tokens(subject, [found["input_ids"] for found in encoded])


def _chat_template(subject: Subject) -> Found:
    chats = [[{"role": "user", "content": text}] for text in QUESTIONS]
    encoded = (_their_tokenizer(subject).apply_chat_template(chat, add_generation_prompt=True) for chat in chats)
    return same_prompts(subject, [found["input_ids"] for found in encoded])


def _their_tokenizer(subject: Subject) -> Any:
    return importlib.import_module("transformers").AutoTokenizer.from_pretrained(subject.folder)


looks: tuple[Look, ...] = (_loads, _logits, _tokenizer, _chat_template)
