"""How an answer is written: the settings, under Transformers' names, and the one function that follows them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from minikin.base.errors import DecodingError
from minikin.model.beam import beam_search
from minikin.model.decoder import Decoder
from minikin.model.generate import Choose, generate, greedy
from minikin.model.repeats import Adjust, repeats_adjusted
from minikin.model.sampling import sampler


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """Greedy unless said otherwise: `temperature` 0 takes the likeliest token, above 0 draws; `num_beams` searches.

    `top_k` 0, `top_p` 1, `min_p` 0, `repetition_penalty` 1 and `no_repeat_ngram_size` 0 are off.
    Raises DecodingError if settings contradict each other or one would mean nothing.
    """

    max_new_tokens: int
    num_beams: int = 1
    length_penalty: float = 1.0
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0

    def __post_init__(self) -> None:
        if self.num_beams > 1 and self.temperature > 0:
            raise DecodingError(
                f"num_beams is {self.num_beams} and temperature {self.temperature:g}: "
                "beams search, a temperature draws; leave one of them out"
            )
        filters = {"top_k": self.top_k > 0, "top_p": self.top_p < 1, "min_p": self.min_p > 0}
        if self.temperature == 0 and any(filters.values()):
            given = " and ".join(name for name, on in filters.items() if on)
            raise DecodingError(f"{given}: nothing is drawn at temperature 0; give a temperature, such as 1")
        if self.num_beams == 1 and self.length_penalty != 1:
            raise DecodingError(
                f"length_penalty is {self.length_penalty:g}, but only beams compare lengths; give num_beams, such as 4"
            )

    def __str__(self) -> str:
        """In words, as a report says it."""
        said = [_kind(self), f"at most {self.max_new_tokens} tokens"]
        if self.repetition_penalty != 1:
            said.append(f"repetition penalty {self.repetition_penalty:g}")
        if self.no_repeat_ngram_size:
            said.append(f"no run of {self.no_repeat_ngram_size} tokens twice")
        return ", ".join(said)


def decode(
    decoder: Decoder, prompts: Sequence[Sequence[int]], decoding: Decoding, generator: torch.Generator
) -> list[list[int]]:
    """What follows each prompt, without its end token; `generator` is asked only where something is drawn."""
    if decoding.num_beams > 1:
        beams, penalty = decoding.num_beams, decoding.length_penalty
        return beam_search(decoder, prompts, decoding.max_new_tokens, beams, penalty, adjuster(decoding))
    return generate(decoder, prompts, decoding.max_new_tokens, chooser(decoding, generator), adjuster(decoding))


def decode_batches(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    generator: torch.Generator,
    *,
    batch: int,
    watch: Callable[[int], None],
) -> list[list[int]]:
    """The same for any number of prompts, `batch` at a time; `watch` hears how many are answered."""
    answers: dict[int, list[int]] = {}
    # prompts of similar length share a batch: less padding
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        answers.update(zip(chosen, decode(decoder, [prompts[at] for at in chosen], decoding, generator), strict=True))
        watch(len(answers))
    return [answers[index] for index in range(len(prompts))]


def chooser(decoding: Decoding, generator: torch.Generator) -> Choose:
    """How a token is picked, where there are no beams."""
    if decoding.temperature == 0:
        return greedy
    return sampler(
        generator,
        temperature=decoding.temperature,
        top_k=decoding.top_k,
        top_p=decoding.top_p,
        min_p=decoding.min_p,
    )


def adjuster(decoding: Decoding) -> Adjust:
    """How scores are changed by what was said before."""
    return repeats_adjusted(decoding.repetition_penalty, decoding.no_repeat_ngram_size)


def _kind(decoding: Decoding) -> str:
    if decoding.num_beams > 1:
        return f"beam search, {decoding.num_beams} beams, length penalty {decoding.length_penalty:g}"
    if decoding.temperature == 0:
        return "greedy"
    filters = {"top_k": decoding.top_k, "top_p": decoding.top_p % 1, "min_p": decoding.min_p}
    told = "".join(f", {name} {value:g}" for name, value in filters.items() if value)
    return f"sampled, temperature {decoding.temperature:g}{told}"
