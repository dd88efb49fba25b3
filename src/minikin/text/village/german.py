"""German sentences of the village: declension of goods and the order of verbs.

The past is told in the perfect, as it is spoken; the finite verb is second in a main clause and last in a
subordinate one, and what belongs to it (prefix, participle, infinitive) closes the main clause.
"""

from dataclasses import dataclass

from minikin.text.village.entries import Gender, Person, Thing
from minikin.text.village.meaning import Event, Goods

PRONOUN = {"m": "er", "f": "sie", "n": "es"}
PRONOUN_ACCUSATIVE = {"m": "ihn", "f": "sie", "n": "es"}
DEFINITE_NOMINATIVE = {"m": "der", "f": "die", "n": "das"}
DEFINITE_ACCUSATIVE = {"m": "den", "f": "die", "n": "das"}
INDEFINITE_ACCUSATIVE = {"m": "einen", "f": "eine", "n": "ein"}
# accusative endings of adjectives after the definite (weak) and after the indefinite article (mixed)
WEAK_ACCUSATIVE = {"m": "en", "f": "e", "n": "e"}
MIXED_ACCUSATIVE = {"m": "en", "f": "e", "n": "es"}
_COUNTS = {"two": "zwei", "three": "drei"}


@dataclass(frozen=True, kw_only=True)
class VerbParts:
    """The finite verb and what closes the clause; `final` is both as a subordinate clause ends."""

    finite: str
    closing: str
    final: str


def sentence(words: str) -> str:
    """A full sentence: a capital first, a stop at the end."""
    return f"{words[0].upper()}{words[1:]}."


def goods_phrase(goods: Goods) -> str:
    """The object in the accusative; a negated one with "kein"."""
    gender = goods.thing.gender
    if goods.number in _COUNTS:
        return f"{_COUNTS[goods.number]} {_described(goods, 'e')}{goods.thing.german_plural}"
    if goods.number == "the":
        return f"{DEFINITE_ACCUSATIVE[gender]} {_described(goods, WEAK_ACCUSATIVE[gender])}{goods.thing.german}"
    article = INDEFINITE_ACCUSATIVE[gender]
    negation = "k" if goods.number == "no" else ""
    return f"{negation}{article} {_described(goods, MIXED_ACCUSATIVE[gender])}{goods.thing.german}"


def thing_nominative(thing: Thing, adjective: str = "") -> str:
    """The thing as known, as a subject."""
    described = f"{adjective}e " if adjective else ""
    return f"{DEFINITE_NOMINATIVE[thing.gender]} {described}{thing.german}"


def thing_accusative(thing: Thing, adjective: str = "") -> str:
    """The thing as known, as an object."""
    described = f"{adjective}{WEAK_ACCUSATIVE[thing.gender]} " if adjective else ""
    return f"{DEFINITE_ACCUSATIVE[thing.gender]} {described}{thing.german}"


def verb_parts(event: Event) -> VerbParts:
    """The verb of an event in the tense of its time."""
    verb = event.verb
    if event.when.tense == "past":
        return VerbParts(finite=verb.auxiliary, closing=verb.participle, final=f"{verb.participle} {verb.auxiliary}")
    if event.when.tense == "future":
        infinitive = f"{verb.prefix}{verb.infinitive}"
        return VerbParts(finite="wird", closing=infinitive, final=f"{infinitive} wird")
    return VerbParts(finite=verb.third, closing=verb.prefix, final=f"{verb.prefix}{verb.third}")


def clause(event: Event) -> str:
    """Subject first, finite verb second."""
    parts = verb_parts(event)
    return _joined(event.who.nominative, parts.finite, event.when.german, middle(event), parts.closing)


def fronted(event: Event) -> str:
    """Time first, finite verb second, subject third."""
    parts = verb_parts(event)
    return _joined(event.when.german, parts.finite, event.who.nominative, middle(event), parts.closing)


def inverted(event: Event) -> str:
    """What follows a first word such as "also": finite verb, subject, time."""
    parts = verb_parts(event)
    return _joined(parts.finite, event.who.nominative, event.when.german, middle(event), parts.closing)


def subordinate(event: Event) -> str:
    """As after "dass": the finite verb last."""
    return _joined(event.who.nominative, event.when.german, middle(event), verb_parts(event).final)


def wanted(event: Event) -> str:
    """What follows "will": the infinitive last."""
    return _joined(event.when.german, middle(event), f"{event.verb.prefix}{event.verb.infinitive}")


def middle(event: Event) -> str:
    """Recipient, object, place, in this order."""
    recipient = event.recipient.dative if event.recipient else ""
    goods = goods_phrase(event.goods) if event.goods else ""
    place = ""
    if event.place is not None:
        place = event.place.german_to if event.verb.kind == "way" else event.place.german_at
    return _joined(recipient, goods, place)


def pronoun(person: Person) -> str:
    """er, sie or es."""
    return PRONOUN[person.gender]


def pronoun_accusative(gender: Gender) -> str:
    """ihn, sie or es."""
    return PRONOUN_ACCUSATIVE[gender]


def _described(goods: Goods, ending: str) -> str:
    return f"{goods.adjective[1]}{ending} " if goods.adjective else ""


def _joined(*words: str) -> str:
    return " ".join(word for word in words if word)
