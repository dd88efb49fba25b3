"""How a member chooses among candidate replies: by how likely each is, or by how like it is to the conversation."""

from collections.abc import Callable, Sequence

import torch

from minikin.measure.tasks import Question
from minikin.model.decoder import Decoder
from minikin.model.embed import LONGEST_REPLY, embedded, likeness, replies
from minikin.model.generate import log_probabilities_after, read, reply_log_probabilities
from minikin.text.chat import encode_prompt, encode_reply
from minikin.text.tokenizer import Tokenizer

_NEAREST, _GAIN = 5, 0.1  # replies looked at twice, and what a nat of log probability counts beside likeness

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


@torch.inference_mode()
def by_likeness(
    decoder: Decoder, tokenizer: Tokenizer, asked: Sequence[Question], prompts: Sequence[Sequence[int]]
) -> list[int]:
    """The reply whose vector is nearest to the conversation's, as members learn it with `reply_weight`.

    Among the nearest few, what a reply gains by the conversation counts, too: log p after it − log p after nothing,
    their pointwise mutual information (Li et al. 2016, arXiv 1510.03055, eq. 9), of which likeness is another estimate.
    """
    distinct = list(dict.fromkeys(text for question in asked for text in question.candidates))
    said = [encode_reply(tokenizer, text)[:LONGEST_REPLY] for text in distinct]
    heard, opening = read(decoder, prompts), encode_prompt(tokenizer, ())
    vectors = embedded(decoder, replies(opening, said).to(decoder.device))
    likely = likeness(heard.hidden, vectors).tolist()
    mine = [[distinct.index(text) for text in question.candidates] for question in asked]
    near = [sorted(own, key=likely[row].__getitem__, reverse=True)[:_NEAREST] for row, own in enumerate(mine)]
    pairs = [(row, place) for row, places in enumerate(near) for place in places]
    few = [said[place] for _, place in pairs]
    after, _ = log_probabilities_after(decoder, heard, [row for row, _ in pairs], few)
    anyway, _ = reply_log_probabilities(decoder, opening, few)
    for (row, place), gain in zip(pairs, (after - anyway).tolist(), strict=True):
        likely[row][place] += _GAIN * gain
    return [
        own.index(max(places, key=likely[row].__getitem__))
        for row, (own, places) in enumerate(zip(mine, near, strict=True))
    ]
