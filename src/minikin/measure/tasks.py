"""Test records as questions to a model: what it is asked, and what counts as right."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from minikin.base.errors import DataError
from minikin.base.seeds import seed_for
from minikin.text.chat import Message, messages
from minikin.text.records import Complexity, Dialogue, Record, Selection, Summarization, Text, Translation

_CANDIDATES = 20


@dataclass(frozen=True, kw_only=True)
class Question:
    """A prompt, its accepted answers, and for response selection the candidates and the true one's index.

    Questions of one `example` say the same thing and are drawn together; `group` are those scored as one corpus.
    `complexity` is how hard it is, as a number or a label, if that is known.
    """

    task: str
    example: int
    group: str
    source: str
    prompt: tuple[Message, ...]
    references: tuple[str, ...]
    candidates: tuple[str, ...] = ()
    answer: int = 0
    complexity: Complexity = None


def questions(records: Iterable[Record], example: int, origin: str = "") -> Iterator[Question]:
    """One question a record of an example; plain text asks nothing. Records of another origin are another group."""
    for record in records:
        if isinstance(record, Text):
            continue
        *prompt, last = messages(record)
        match record:
            case Translation(source=source, source_lang=here, target_lang=there, references=references):
                direction, task, asked = f"{here}-{there}", "translation", source
            case Summarization(document=document, references=references):
                direction, task, asked = "", "summarization", document
            case Dialogue() | Selection():
                direction, task, asked, references = "", "dialogue", _said(prompt), ()
        yield Question(
            task=task,
            example=example,
            group=" ".join(part for part in (origin, direction) if part),
            source=asked,
            prompt=tuple(prompt),
            # the target itself is an answer, too; some data sets list it among the references, some do not
            references=tuple(dict.fromkeys((last.content, *references))),
            candidates=record.candidates if isinstance(record, Selection) else (),
            answer=record.answer if isinstance(record, Selection) else 0,
            complexity=record.complexity,
        )


def with_complexity(asked: Sequence[Question]) -> list[Question]:
    """Questions with how hard they are: as the records of their task tell, or if none does, as a question shows."""
    told = {question.task for question in asked if question.complexity is not None}
    return [each if each.task in told else replace(each, complexity=_shown(each)) for each in asked]


def _shown(question: Question) -> Complexity:
    """Turns before the reply, or the words of document that a word of summary stands for; nothing of a translation."""
    match question.task:
        case "dialogue":
            return len(question.prompt)
        case "summarization":
            return len(question.source.split()) / max(1, len(question.references[0].split()))
        case _:
            return None


def selections(dialogues: Iterable[Dialogue], seed: int, origin: str = "") -> Iterator[Selection]:
    """Response selection made from dialogues: the last turn among 19 last turns of others, or all there are.

    Raises DataError, which names their origin, if the dialogues have only one last turn among them.
    """
    chance = Random(seed_for(seed, "selections"))
    told = list(dialogues)
    pool = sorted({dialogue.turns[-1].text for dialogue in told})
    if len(pool) < 2:
        test = f"its test {origin}" if origin else "its test"
        raise DataError(f"dialogue: {test} has a single last turn, so there is nothing to select among; add dialogues")
    for dialogue in told:
        *context, last = dialogue.turns
        others = [text for text in chance.sample(pool, min(len(pool), _CANDIDATES)) if text != last.text]
        candidates = others[: _CANDIDATES - 1]
        answer = chance.randint(0, len(candidates))
        candidates.insert(answer, last.text)
        yield Selection(
            context=tuple(context),
            role=last.role,
            candidates=tuple(candidates),
            answer=answer,
            complexity=dialogue.complexity,
        )


def _said(prompt: list[Message]) -> str:
    return "\n".join(f"– {message.content}" for message in prompt)
