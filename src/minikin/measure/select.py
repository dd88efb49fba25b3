"""How a member chooses among candidate replies: by how likely each is, or by how like it is to the conversation."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from minikin.measure.tasks import Question
from minikin.model.decoder import Decoder
from minikin.model.embed import LONGEST_REPLY, embedded, likeness, replies
from minikin.model.generate import Read, log_probabilities_after, read, reply_log_probabilities
from minikin.text.chat import encode_prompt, encode_reply
from minikin.text.tokenizer import Tokenizer

_NEAREST, _GAIN = 5, 0.1  # replies looked at twice, and what a nat of log probability counts beside likeness
_TOGETHER = 20  # of them in one pass

# questions with candidates and their prompts → which candidate is chosen for each
Select = Callable[[Decoder, Tokenizer, Sequence[Question], Sequence[Sequence[int]]], list[int]]


def by_likelihood(
    decoder: Decoder, tokenizer: Tokenizer, asked: Sequence[Question], prompts: Sequence[Sequence[int]]
) -> list[int]:
    """The reply of the highest mean log-probability a token after its prompt."""
    chosen = []
    for question, prompt in zip(asked, prompts, strict=True):
        said = [encode_reply(tokenizer, text) for text in question.candidates]
        total, lengths = reply_log_probabilities(decoder, prompt, said)
        chosen.append(int((total / lengths).argmax()))
    return chosen


def by_likeness(
    decoder: Decoder, tokenizer: Tokenizer, asked: Sequence[Question], prompts: Sequence[Sequence[int]]
) -> list[int]:
    """The reply whose vector is nearest to the conversation's, as members learn it with `reply_weight`."""
    compared = _compared(decoder, tokenizer, asked, prompts)
    return [own.index(max(own, key=likely.__getitem__)) for own, likely in compared.by_question()]


def by_likeness_and_gain(
    decoder: Decoder, tokenizer: Tokenizer, asked: Sequence[Question], prompts: Sequence[Sequence[int]]
) -> list[int]:
    """The same, but among the nearest few, what a reply gains by the conversation counts, too.

    That is log p after it − log p after nothing, in nats: their pointwise mutual information (Li et al. 2016,
    arXiv 1510.03055, eq. 9), of which likeness is another estimate.
    """
    compared = _compared(decoder, tokenizer, asked, prompts)
    near = [
        sorted(dict.fromkeys(own), key=likely.__getitem__, reverse=True)[:_NEAREST]
        for own, likely in compared.by_question()
    ]
    pairs = [(row, place) for row, places in enumerate(near) for place in places]
    opening, chosen = read(decoder, [encode_prompt(tokenizer, ())]), dict[int, tuple[float, int]]()
    for some in (pairs[start : start + _TOGETHER] for start in range(0, len(pairs), _TOGETHER)):
        few = [compared.said[place] for _, place in some]
        after, _ = log_probabilities_after(decoder, compared.heard, [row for row, _ in some], few)
        anyway, _ = log_probabilities_after(decoder, opening, [0] * len(few), few)
        for (row, place), gain in zip(some, (after - anyway).tolist(), strict=True):
            found = compared.likely[row][place] + _GAIN * gain, place
            chosen[row] = max(chosen.get(row, found), found, key=lambda each: each[0])
    return [own.index(chosen[row][1]) for row, own in enumerate(compared.mine)]


@dataclass(frozen=True, kw_only=True)
class _Compared:
    """Conversations that have been read, all replies to any of them, and how like each is to each.

    `mine` says, for each conversation, where its candidates are among all replies.
    """

    heard: Read
    said: list[list[int]]
    mine: list[list[int]]
    likely: list[list[float]]

    def by_question(self) -> Iterator[tuple[list[int], list[float]]]:
        """Its candidates, and how like it all replies are."""
        return zip(self.mine, self.likely, strict=True)


@torch.inference_mode()
def _compared(
    decoder: Decoder, tokenizer: Tokenizer, asked: Sequence[Question], prompts: Sequence[Sequence[int]]
) -> _Compared:
    distinct = list(dict.fromkeys(text for question in asked for text in question.candidates))
    places = {text: place for place, text in enumerate(distinct)}
    said = [encode_reply(tokenizer, text)[:LONGEST_REPLY] for text in distinct]
    heard = read(decoder, prompts)
    vectors = embedded(decoder, replies(encode_prompt(tokenizer, ()), said).to(decoder.device))
    mine = [[places[text] for text in question.candidates] for question in asked]
    return _Compared(heard=heard, said=said, mine=mine, likely=likeness(heard.hidden, vectors).tolist())
