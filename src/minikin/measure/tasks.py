"""Test records as questions to a model: what it is asked, and what counts as right."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random

from minikin.base.seeds import seed_for
from minikin.text.chat import Message, messages
from minikin.text.records import Dialogue, Record, Selection, Summarization, Translation

_CANDIDATES = 20


@dataclass(frozen=True, kw_only=True)
class Question:
    """A prompt, its accepted answers, and for response selection the candidates and the true one's index."""

    task: str
    group: str
    source: str
    prompt: tuple[Message, ...]
    references: tuple[str, ...]
    candidates: tuple[str, ...] = ()
    answer: int = 0


def questions(records: Iterable[Record]) -> Iterator[Question]:
    """One question a record; a dialogue asks for its last turn."""
    for record in records:
        *prompt, last = messages(record)
        match record:
            case Translation(source=source, source_lang=here, target_lang=there, references=references):
                yield _question("translation", f"{here}-{there}", source, prompt, references or (last.content,))
            case Summarization(document=document, references=references):
                yield _question("summarization", "", document, prompt, references or (last.content,))
            case Dialogue():
                yield _question("dialogue", "", _said(prompt), prompt, (last.content,))
            case Selection(candidates=candidates, answer=answer):
                yield Question(
                    task="dialogue",
                    group="",
                    source=_said(prompt),
                    prompt=tuple(prompt),
                    references=(last.content,),
                    candidates=candidates,
                    answer=answer,
                )


def selections(dialogues: Iterable[Dialogue], seed: int) -> Iterator[Selection]:
    """Response selection made from dialogues: the last turn among 19 last turns of others."""
    chance = Random(seed_for(seed, "selections"))
    ends = [dialogue.turns for dialogue in dialogues]
    pool = sorted({turns[-1].text for turns in ends})
    for turns in ends:
        *context, last = turns
        others = [text for text in chance.sample(pool, min(len(pool), _CANDIDATES)) if text != last.text]
        candidates = others[: _CANDIDATES - 1]
        answer = chance.randint(0, len(candidates))
        candidates.insert(answer, last.text)
        yield Selection(context=tuple(context), role=last.role, candidates=tuple(candidates), answer=answer)


def _question(task: str, group: str, source: str, prompt: list[Message], references: tuple[str, ...]) -> Question:
    return Question(task=task, group=group, source=source, prompt=tuple(prompt), references=references)


def _said(prompt: list[Message]) -> str:
    return "\n".join(f"– {message.content}" for message in prompt)
