"""The built-in data: a small bilingual world that needs no download and no licence.

From a seed come meanings, and from one meaning several texts. What is held out is held out by meaning.
"""

from collections.abc import Iterator
from random import Random
from typing import Literal

from minikin.base.seeds import seed_for
from minikin.text.records import Record, Selection
from minikin.text.village import tellings
from minikin.text.village.meaning import Split

VillageTask = Literal["translation", "summarization", "dialogue", "text", "selection"]
_CANDIDATES = 20


def village(task: VillageTask, count: int, *, split: Split, seed: int) -> Iterator[Record]:
    """`count` records of a task, the same for the same arguments."""
    chance = Random(seed_for(seed, "village", task, split))
    for number in range(count):
        language: tellings.Language = "en" if number % 2 else "de"
        match task:
            case "translation":
                yield tellings.translation(chance, split)
            case "summarization":
                yield tellings.summarization(chance, split, language)
            case "dialogue":
                yield tellings.dialogue(chance, split, language)
            case "text":
                yield tellings.story(chance, split, language)
            case "selection":
                yield _selection(chance, split, language)


def _selection(chance: Random, split: Split, language: tellings.Language) -> Selection:
    """Which reply belongs here? The others are true last replies of other conversations in the same language."""
    turns = tellings.dialogue(chance, split, language).turns
    replies = {turns[-1].text: None}
    while len(replies) < _CANDIDATES:
        replies[tellings.dialogue(chance, split, language).turns[-1].text] = None
    candidates = list(replies)
    answer = chance.randrange(_CANDIDATES)
    candidates[0], candidates[answer] = candidates[answer], candidates[0]
    return Selection(context=turns[:-1], role=turns[-1].role, candidates=tuple(candidates), answer=answer)
