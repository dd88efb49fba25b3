"""Other views of a record: a pair the other way round, a dialogue as others in it speak, a dialogue cut short."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from random import Random

from minikin.text.records import Dialogue, Translation


def reversed_direction(record: Translation) -> Translation:
    """The same pair the other way round."""
    return Translation(
        source=record.target,
        target=record.source,
        source_lang=record.target_lang,
        target_lang=record.source_lang,
        complexity=record.complexity,
    )


def views_of_others(dialogue: Dialogue) -> Iterator[Dialogue]:
    """The same dialogue up to the last word of each other role, if somebody spoke before."""
    turns = dialogue.turns
    for role in dict.fromkeys(turn.role for turn in turns):
        end = 1 + max(number for number, turn in enumerate(turns) if turn.role == role)
        if 1 < end < len(turns):
            yield Dialogue(turns=turns[:end])


def up_to_drawn_turns(dialogues: Iterable[Dialogue], chance: Random) -> Iterator[Dialogue]:
    """Every dialogue up to a turn that is drawn, so that not only goodbyes are answered."""
    return (replace(each, turns=each.turns[: chance.randint(2, len(each.turns))]) for each in dialogues)
