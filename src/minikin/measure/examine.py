"""A member answers the test: generated answers, and the choice among candidates."""

from collections.abc import Callable, Sequence

from minikin.measure.records import Answer
from minikin.measure.tasks import Question
from minikin.model.decoder import Decoder
from minikin.model.generate import generate, reply_log_probabilities
from minikin.text.chat import encode_prompt, encode_reply
from minikin.text.tokenizer import Tokenizer

_OPENING = 32  # tokens of a prompt that say what is asked


def examine(
    decoder: Decoder,
    tokenizer: Tokenizer,
    asked: Sequence[Question],
    *,
    batch: int,
    max_new_tokens: int,
    watch: Callable[[int], None],
) -> list[Answer]:
    """Greedy answers to all questions, in their order; `watch` hears how many are answered."""
    prompts = [fitted(encode_prompt(tokenizer, question.prompt), decoder, max_new_tokens) for question in asked]
    outputs: dict[int, str] = {}
    # prompts of similar length share a batch: less padding
    order = sorted(range(len(asked)), key=lambda index: len(prompts[index]))
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        replies = generate(decoder, [prompts[index] for index in chosen], max_new_tokens)
        outputs.update({index: tokenizer.decode(reply) for index, reply in zip(chosen, replies, strict=True)})
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
            hit=_hit(decoder, tokenizer, prompts[index], question) if question.candidates else None,
            complexity=question.complexity,
        )
        for index, question in enumerate(asked)
    ]


def fitted(prompt: list[int], decoder: Decoder, max_new_tokens: int) -> list[int]:
    """A prompt that leaves room for the answer; too long a one loses what follows its opening words."""
    room = decoder.config.max_position_embeddings - max_new_tokens
    return prompt if len(prompt) <= room else [*prompt[:_OPENING], *prompt[len(prompt) - room + _OPENING :]]


def _hit(decoder: Decoder, tokenizer: Tokenizer, prompt: list[int], question: Question) -> bool:
    replies = [encode_reply(tokenizer, text) for text in question.candidates]
    total, lengths = reply_log_probabilities(decoder, prompt, replies)
    return int((total / lengths).argmax()) == question.answer
