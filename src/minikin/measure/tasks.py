"""Test records as questions to a model: what it is asked, and what counts as right."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random

from minikin.base.errors import DataError
from minikin.base.seeds import seed_for
from minikin.text.chat import Message, messages
from minikin.text.records import Dialogue, Record, Selection, Summarization, Translation

_CANDIDATES = 20


@dataclass(frozen=True, kw_only=True)
class Question:
    """A prompt, its accepted answers, and for response selection the candidates and the true one's index.

    Questions of one `example` say the same thing and are drawn together; `group` are those scored as one corpus.
    """

    task: str
    example: int
    group: str
    source: str
    prompt: tuple[Message, ...]
    references: tuple[str, ...]
    candidates: tuple[str, ...] = ()
    answer: int = 0


def questions(records: Iterable[Record], example: int) -> Iterator[Question]:
    """One question a record of an example; plain text asks nothing."""
    for record in records:
        *prompt, last = messages(record)
        match record:
            case Translation(source=source, source_lang=here, target_lang=there, references=references):
                group, task, asked = f"{here}-{there}", "translation", source
            case Summarization(document=document, references=references):
                group, task, asked = "", "summarization", document
            case Dialogue() | Selection():
                group, task, asked, references = "", "dialogue", _said(prompt), ()
            case _:
                continue
        yield Question(
            task=task,
            example=example,
            group=group,
            source=asked,
            prompt=tuple(prompt),
            # the target itself is an answer, too; some data sets list it among the references, some do not
            references=tuple(dict.fromkeys((last.content, *references))),
            candidates=record.candidates if isinstance(record, Selection) else (),
            answer=record.answer if isinstance(record, Selection) else 0,
        )


def selections(dialogues: Iterable[Dialogue], seed: int) -> Iterator[Selection]:
    """Response selection made from dialogues: the last turn among 19 last turns of others, or all there are.

    Raises DataError if the dialogues have only one last turn among them.
    """
    chance = Random(seed_for(seed, "selections"))
    ends = [dialogue.turns for dialogue in dialogues]
    pool = sorted({turns[-1].text for turns in ends})
    if len(pool) < 2:
        raise DataError("dialogue: its test has a single last turn, so there is nothing to select among; add dialogues")
    for turns in ends:
        *context, last = turns
        others = [text for text in chance.sample(pool, min(len(pool), _CANDIDATES)) if text != last.text]
        candidates = others[: _CANDIDATES - 1]
        answer = chance.randint(0, len(candidates))
        candidates.insert(answer, last.text)
        yield Selection(context=tuple(context), role=last.role, candidates=tuple(candidates), answer=answer)


def _said(prompt: list[Message]) -> str:
    return "\n".join(f"– {message.content}" for message in prompt)
