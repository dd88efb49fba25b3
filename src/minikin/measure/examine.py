"""A member answers the test: generated answers, and the choice among candidates."""

from collections.abc import Callable, Sequence

from minikin.measure.records import Answer
from minikin.measure.select import Select
from minikin.measure.tasks import Question
from minikin.model.decoder import Decoder
from minikin.model.generate import generate
from minikin.text.chat import encode_prompt
from minikin.text.tokenizer import Tokenizer

_OPENING = 32  # tokens of a prompt that say what is asked


def examine(
    decoder: Decoder,
    tokenizer: Tokenizer,
    asked: Sequence[Question],
    *,
    batch: int,
    max_new_tokens: int,
    select: Select,
    watch: Callable[[int], None],
) -> list[Answer]:
    """Greedy answers to all questions, in their order, and choices among candidates; `watch` hears how many."""
    prompts = [fitted(encode_prompt(tokenizer, question.prompt), decoder, max_new_tokens) for question in asked]
    outputs: dict[int, str] = {}
    hits: dict[int, bool] = {}
    # prompts of similar length share a batch: less padding
    order = sorted(range(len(asked)), key=lambda index: len(prompts[index]))
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        replies = generate(decoder, [prompts[index] for index in chosen], max_new_tokens)
        outputs.update({index: tokenizer.decode(reply) for index, reply in zip(chosen, replies, strict=True)})
        choices = [index for index in chosen if asked[index].candidates]
        if choices:
            taken = select(decoder, tokenizer, [asked[i] for i in choices], [prompts[i] for i in choices])
            hits.update({index: asked[index].answer == answer for index, answer in zip(choices, taken, strict=True)})
        watch(len(outputs))
    return [
        Answer(
            task=question.task,
            example=question.example,
            group=question.group,
            source=question.source,
            output=outputs[index],
            references=question.references,
            candidates=len(question.candidates),
            hit=hits.get(index),
        )
        for index, question in enumerate(asked)
    ]


def fitted(prompt: list[int], decoder: Decoder, max_new_tokens: int) -> list[int]:
    """A prompt that leaves room for the answer; too long a one loses what follows its opening words."""
    room = decoder.config.max_position_embeddings - max_new_tokens
    return prompt if len(prompt) <= room else [*prompt[:_OPENING], *prompt[len(prompt) - room + _OPENING :]]
