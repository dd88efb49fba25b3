"""What the lexicon knows of a word: its forms in English and German."""

from dataclasses import dataclass
from typing import Literal

Gender = Literal["m", "f", "n"]


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody, with the German forms of nominative, accusative and dative."""

    english: str
    gender: Gender
    nominative: str
    accusative: str
    dative: str


@dataclass(frozen=True, kw_only=True)
class Thing:
    """A good or an animal; `price` in crowns and the two `colors` it is sold in are facts of the village."""

    english: str
    english_plural: str
    german: str
    german_plural: str
    gender: Gender
    price: int
    colors: tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Somewhere to be at and to go to."""

    english: str
    english_at: str
    english_to: str
    german_at: str
    german_to: str


@dataclass(frozen=True, kw_only=True)
class Verb:
    """What somebody does. German forms: infinitive without prefix, third person, participle, auxiliary.

    `kind`: "thing" takes an object, "gift" an object and a recipient, "way" a place to go to.
    """

    kind: Literal["thing", "gift", "way"]
    english: str
    english_third: str
    english_past: str
    infinitive: str
    third: str
    participle: str
    prefix: str = ""
    auxiliary: str = "hat"


@dataclass(frozen=True, kw_only=True)
class Time:
    """When: past, present or future, in both languages."""

    tense: Literal["past", "present", "future"]
    english: str
    german: str
