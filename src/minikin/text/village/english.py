"""English sentences of the village."""

from minikin.text.village.entries import Person, Thing
from minikin.text.village.meaning import Event, Goods

PRONOUN = {"m": "he", "f": "she", "n": "it"}


def sentence(words: str) -> str:
    """A full sentence: a capital first, a stop at the end."""
    return f"{words[0].upper()}{words[1:]}."


def goods_phrase(goods: Goods) -> str:
    """The object with determiner and adjective; a negated one reads as if it were not."""
    adjective = f"{goods.adjective[0]} " if goods.adjective else ""
    if goods.number in ("two", "three"):
        return f"{goods.number} {adjective}{goods.thing.english_plural}"
    described = f"{adjective}{goods.thing.english}"
    return f"the {described}" if goods.number == "the" else with_article(described)


def with_article(words: str) -> str:
    """a or an, by the first letter."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def thing_phrase(thing: Thing) -> str:
    """The thing as known."""
    return f"the {thing.english}"


def predicate(event: Event) -> str:
    """The verb as finite as the tense wants it, and what follows it except the time."""
    return f"{_finite(event)}{_rest(event)}"


def bare_predicate(event: Event) -> str:
    """The same with the verb in its base form, as after "wants to"."""
    return f"{event.verb.english}{_rest(event)}"


def clause(event: Event) -> str:
    """Subject first, the time last."""
    return f"{event.who.english} {predicate(event)} {event.when.english}"


def fronted(event: Event) -> str:
    """The time first."""
    return f"{event.when.english} {event.who.english} {predicate(event)}"


def pronoun(person: Person) -> str:
    """he, she or it."""
    return PRONOUN[person.gender]


def _rest(event: Event) -> str:
    words = ""
    if event.goods is not None:
        words += f" {goods_phrase(event.goods)}"
    if event.recipient is not None:
        words += f" to {event.recipient.english}"
    if event.place is not None:
        words += f" {event.place.english_to if event.verb.kind == 'way' else event.place.english_at}"
    return words


def _finite(event: Event) -> str:
    verb, tense = event.verb, event.when.tense
    if event.goods is not None and event.goods.number == "no":
        auxiliary = {"past": "did", "present": "does", "future": "will"}[tense]
        return f"{auxiliary} not {verb.english}"
    forms = {"past": verb.english_past, "present": verb.english_third, "future": f"will {verb.english}"}
    return forms[tense]
