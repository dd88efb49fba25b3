"""Meanings: who did what to what, where and when, before any language; and which of them are held out.

The core of a meaning is its composition person × verb × object (or goal). A core is held out everywhere or
nowhere: it decides by its hash whether it may occur in training, in what a training is watched by, or in a test,
in whatever language, task or form.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Literal, TypeVar

from minikin.text.village.entries import Person, Place, Thing, Time, Verb
from minikin.text.village.lexicon import ADJECTIVES, PEOPLE, PLACES, THINGS, TIMES, VERBS

Split = Literal["train", "watch", "test"]
Number = Literal["the", "a", "two", "three", "no"]
_TEST_PERCENT, _WATCH_PERCENT = 10, 5
_Entry = TypeVar("_Entry")


@dataclass(frozen=True, kw_only=True)
class Goods:
    """An object with its determiner; `number` "no" negates the sentence."""

    thing: Thing
    number: Number
    adjective: tuple[str, str] | None


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happens. Verbs of way have a place as goal; all others have goods."""

    who: Person
    verb: Verb
    when: Time
    goods: Goods | None
    recipient: Person | None
    place: Place | None

    @property
    def core(self) -> tuple[str, str, str]:
        """The composition that is held out as one."""
        if self.goods is not None:
            return self.who.english, self.verb.english, self.goods.thing.english
        assert self.place is not None
        return self.who.english, self.verb.english, self.place.english

    @property
    def complements(self) -> int:
        """How much is said beyond who did what when: goods, their adjective, a negation, a recipient, a place."""
        said = (self.goods, self.goods and self.goods.adjective, self.recipient, self.place)
        return sum(part is not None for part in said) + bool(self.goods and self.goods.number == "no")

    @property
    def split(self) -> Split:
        """Where this core may occur."""
        place = zlib.crc32("|".join(self.core).encode()) % 100
        return "test" if place < _TEST_PERCENT else "watch" if place < _TEST_PERCENT + _WATCH_PERCENT else "train"


def drawer(entries: Sequence[_Entry]) -> Callable[[Random], _Entry]:
    """Draws entries by Zipf's law, flattened at the head so that the first does not crowd out the others."""
    bounds = list(accumulate(1 / (rank + 3) for rank in range(len(entries))))

    def draw(chance: Random) -> _Entry:
        return chance.choices(entries, cum_weights=bounds)[0]

    return draw


draw_person, draw_thing, draw_place = drawer(PEOPLE), drawer(THINGS), drawer(PLACES)
_draw_time, _draw_verb, _draw_adjective = drawer(TIMES), drawer(VERBS), drawer(ADJECTIVES)
_THING_VERBS = drawer([verb for verb in VERBS if verb.kind == "thing"])
_PAST = drawer([time for time in TIMES if time.tense == "past"])
_NUMBERS: tuple[Number, ...] = ("the", "the", "a", "a", "a", "two", "three", "no")


def draw_event(chance: Random, split: Split) -> Event:
    """Any event of one split."""
    while True:
        verb = _draw_verb(chance)
        event = Event(
            who=draw_person(chance),
            verb=verb,
            when=_draw_time(chance),
            goods=None if verb.kind == "way" else _draw_goods(chance, chance.choice(_NUMBERS)),
            recipient=draw_person(chance) if verb.kind == "gift" else None,
            place=draw_place(chance) if verb.kind == "way" or chance.random() < 0.4 else None,
        )
        if event.split == split and event.recipient is not event.who:
            return event


def draw_deed(chance: Random, split: Split, number: Number) -> Event:
    """A past event with goods and a place, as reports and stories tell it."""
    while True:
        event = Event(
            who=draw_person(chance),
            verb=_THING_VERBS(chance),
            when=_PAST(chance),
            goods=_draw_goods(chance, number),
            recipient=None,
            place=draw_place(chance),
        )
        if event.split == split:
            return event


def _draw_goods(chance: Random, number: Number) -> Goods:
    adjective = _draw_adjective(chance) if chance.random() < 0.5 else None
    return Goods(thing=draw_thing(chance), number=number, adjective=adjective)
