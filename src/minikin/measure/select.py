"""How a member chooses among candidate replies: by how likely each is, or by how like it is to the conversation."""

from collections.abc import Callable, Sequence

from minikin.measure.tasks import Question
from minikin.model.decoder import Decoder
from minikin.model.embed import LONGEST_REPLY, reply_likeness
from minikin.model.generate import reply_log_probabilities
from minikin.text.chat import encode_prompt, encode_reply
from minikin.text.tokenizer import Tokenizer

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
    distinct = list(dict.fromkeys(text for question in asked for text in question.candidates))
    places = {text: place for place, text in enumerate(distinct)}
    said = [encode_reply(tokenizer, text)[:LONGEST_REPLY] for text in distinct]
    scores = reply_likeness(decoder, prompts, encode_prompt(tokenizer, ()), said)
    mine = ([places[text] for text in question.candidates] for question in asked)
    return [int(row[candidates].argmax()) for row, candidates in zip(scores, mine, strict=True)]
