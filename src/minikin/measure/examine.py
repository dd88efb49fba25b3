"""A member answers the test: generated answers, and the choice among candidates."""

from collections.abc import Callable, Sequence

import torch

from minikin.measure.records import Answer
from minikin.measure.select import Select
from minikin.measure.tasks import Question
from minikin.model.decoder import Decoder
from minikin.model.decoding import Decoding, decode_batches
from minikin.text.chat import encode_prompt
from minikin.text.tokenizer import Tokenizer

_OPENING = 32  # tokens of a prompt that say what is asked
_SELECTIONS = 16  # questions whose candidates are compared together


def examine(
    decoder: Decoder,
    tokenizer: Tokenizer,
    asked: Sequence[Question],
    *,
    decoding: Decoding,
    generator: torch.Generator,
    batch: int,
    select: Select,
    watch: Callable[[int], None],
) -> list[Answer]:
    """Answers to all questions and choices among candidates, in their order; `watch` hears how many are answered."""
    whole = [encode_prompt(tokenizer, question.prompt) for question in asked]
    prompts = [fitted(prompt, decoder, decoding.max_new_tokens) for prompt in whole]
    replies = decode_batches(decoder, prompts, decoding, generator, batch=batch, watch=watch)
    hits = _hits(decoder, tokenizer, asked, prompts, select)
    return [
        Answer(
            task=question.task,
            example=question.example,
            group=question.group,
            source=question.source,
            output=tokenizer.decode(replies[index]),
            references=question.references,
            candidates=len(question.candidates),
            hit=hits.get(index),
            cut=len(prompts[index]) < len(whole[index]),
            complexity=question.complexity,
        )
        for index, question in enumerate(asked)
    ]


def fitted(prompt: list[int], decoder: Decoder, max_new_tokens: int) -> list[int]:
    """A prompt that leaves room for the answer; too long a one loses what follows its opening words."""
    room = decoder.config.max_position_embeddings - max_new_tokens
    return prompt if len(prompt) <= room else [*prompt[:_OPENING], *prompt[len(prompt) - room + _OPENING :]]


def _hits(
    decoder: Decoder,
    tokenizer: Tokenizer,
    asked: Sequence[Question],
    prompts: Sequence[Sequence[int]],
    select: Select,
) -> dict[int, bool]:
    """Whether the true reply was chosen, by question, where there are candidates."""
    choices = [index for index, question in enumerate(asked) if question.candidates]
    choices.sort(key=lambda index: len(prompts[index]))
    hits = {}
    for start in range(0, len(choices), _SELECTIONS):
        chosen = choices[start : start + _SELECTIONS]
        taken = select(decoder, tokenizer, [asked[at] for at in chosen], [prompts[at] for at in chosen])
        hits.update({at: _is_true(asked[at], answer) for at, answer in zip(chosen, taken, strict=True)})
    return hits


def _is_true(question: Question, chosen: int) -> bool:
    """Whether what was chosen says what the true reply says, wherever that stands."""
    return question.candidates[chosen] == question.candidates[question.answer]
