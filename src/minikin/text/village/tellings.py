"""What is told of one event: a pair of sentences, a report with its summary, a conversation, a story."""

from dataclasses import replace
from random import Random
from typing import Literal

from minikin.text.records import Dialogue, Summarization, Text, Translation, Turn
from minikin.text.village import english, german
from minikin.text.village.entries import Person, Verb
from minikin.text.village.lexicon import GERMAN_COLORS, VERBS
from minikin.text.village.meaning import (
    Event,
    Split,
    draw_deed,
    draw_event,
    draw_person,
)

Language = Literal["en", "de"]

_BUY, _FIND = (next(verb for verb in VERBS if verb.english == english) for english in ("buy", "find"))

_REMARKS = {
    "en": (
        "It was cold.",
        "The sun was shining.",
        "It rained for a long time.",
        "The bells were ringing.",
        "Nobody was in a hurry.",
        "There was music.",
        "The coffee was good.",
        "The wind was strong.",
    ),
    "de": (
        "Es war kalt.",
        "Die Sonne schien.",
        "Es regnete lange.",
        "Die Glocken läuteten.",
        "Niemand hatte es eilig.",
        "Es gab Musik.",
        "Der Kaffee war gut.",
        "Der Wind war stark.",
    ),
}
_CROWNS = {
    "en": ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"],
    "de": ["zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf", "zwölf"],
}


def translation(chance: Random, split: Split) -> Translation:
    """One meaning in both languages, in either direction; its complexity is its meaning's complements."""
    event = draw_event(chance, split)
    pair = _FRAMES[chance.randrange(len(_FRAMES))](chance, event)
    said = event.complements
    if chance.random() < 0.5:
        return Translation(source=pair[0], target=pair[1], source_lang="en", target_lang="de", complexity=said)
    return Translation(source=pair[1], target=pair[0], source_lang="de", target_lang="en", complexity=said)


def summarization(chance: Random, split: Split, language: Language) -> Summarization:
    """A report in which who, what, where and when are scattered, and the one sentence it comes down to."""
    deed = draw_deed(chance, split, "a")
    opening, attended, told = _report_parts(deed, language)
    remarks = chance.sample(_REMARKS[language], 2)
    if chance.random() < 0.5:
        sentences = [opening, remarks[0], attended, told, remarks[1]]
    else:
        sentences = [attended, remarks[0], opening, remarks[1], told]
    telling = german if language == "de" else english
    summary = telling.sentence(telling.clause(deed))
    return Summarization(document=" ".join(sentences), summary=summary)


def dialogue(chance: Random, split: Split, language: Language) -> Dialogue:
    """A conversation in which what to reply was said turns before or is a fact of the village."""
    told = (_shopping, _news, _errand)[chance.randrange(3)](chance, split, language)
    roles = ("user", "assistant") * len(told)
    return Dialogue(turns=tuple(Turn(role=role, text=text) for role, text in zip(roles, told, strict=False)))


def story(chance: Random, split: Split, language: Language) -> Text:
    """A few sentences about one person's day."""
    deed = draw_deed(chance, split, "a")
    remark = chance.choice(_REMARKS[language])
    telling = german if language == "de" else english
    opening, attended, told = _report_parts(deed, language)
    home = {
        "en": f"Then {english.pronoun(deed.who)} went home.",
        "de": f"Dann ist {german.pronoun(deed.who)} nach Hause gegangen.",
    }[language]
    if chance.random() < 0.5:
        return Text(text=" ".join((opening, attended, told, home)))
    return Text(text=" ".join((telling.sentence(telling.fronted(deed)), remark, home)))


def _plain(_: Random, event: Event) -> tuple[str, str]:
    return english.sentence(english.clause(event)), german.sentence(german.clause(event))


def _fronted(_: Random, event: Event) -> tuple[str, str]:
    return english.sentence(english.fronted(event)), german.sentence(german.fronted(event))


def _reported(chance: Random, event: Event) -> tuple[str, str]:
    speaker = _another(chance, event.who)
    return (
        english.sentence(f"{speaker.english} says that {english.clause(event)}"),
        german.sentence(f"{speaker.nominative} sagt, dass {german.subordinate(event)}"),
    )


def _because(chance: Random, event: Event) -> tuple[str, str]:
    friend = _another(chance, event.who)
    return (
        english.sentence(f"{friend.english} is happy because {english.clause(event)}"),
        german.sentence(f"{friend.nominative} freut sich, weil {german.subordinate(event)}"),
    )


def _wanted(chance: Random, event: Event) -> tuple[str, str]:
    if event.verb.english == "need":  # nobody wants to need
        return _plain(chance, event)
    if event.goods is not None and event.goods.number == "no":
        event = replace(event, goods=replace(event.goods, number="a"))
    wants, will = ("wanted", "wollte") if event.when.tense == "past" else ("wants", "will")
    return (
        english.sentence(f"{event.who.english} {wants} to {english.bare_predicate(event)} {event.when.english}"),
        german.sentence(f"{event.who.nominative} {will} {german.wanted(event)}"),
    )


_FRAMES = (_plain, _plain, _fronted, _fronted, _reported, _because, _wanted)


def _report_parts(deed: Event, language: Language) -> tuple[str, str, str]:
    """Where and when much was going on; who was there; what that person did."""
    assert deed.goods is not None
    assert deed.place is not None
    if language == "en":
        return (
            english.sentence(f"there was a lot going on {deed.place.english_at} {deed.when.english}"),
            english.sentence(f"{deed.who.english} was there too"),
            english.sentence(f"{english.pronoun(deed.who)} {english.predicate(replace(deed, place=None))}"),
        )
    perfect = f"hat {german.goods_phrase(deed.goods)} {deed.verb.participle}"
    return (
        german.sentence(f"{deed.when.german} war {deed.place.german_at} viel los"),
        german.sentence(f"{deed.who.nominative} war auch da"),
        german.sentence(f"{german.pronoun(deed.who)} {perfect}"),
    )


def _shopping(chance: Random, split: Split, language: Language) -> tuple[str, ...]:
    """Choose a color, be told the price of the thing, give a name: the last reply needs all of it."""
    deed = _deed_of(chance, split, _BUY)
    assert deed.goods is not None
    buyer, thing = deed.who, deed.goods.thing
    color = chance.choice(thing.colors)
    price = _CROWNS[language][thing.price - 2]
    if language == "en":
        first, second = thing.colors
        return (
            f"Good morning, I need {english.with_article(thing.english)}.",
            f"We have a {first} {thing.english} and a {second} {thing.english}.",
            f"I take the {color} {thing.english}. What does it cost?",
            f"The {color} {thing.english} costs {price} crowns.",
            f"Good. It is for {buyer.english}.",
            f"Then I pack the {color} {thing.english} for {buyer.english}.",
        )
    first, second, chosen = (GERMAN_COLORS[name] for name in (*thing.colors, color))
    ending = german.MIXED_ACCUSATIVE[thing.gender]
    article, pronoun = german.INDEFINITE_ACCUSATIVE[thing.gender], german.PRONOUN[thing.gender]
    return (
        f"Guten Morgen, ich brauche {article} {thing.german}.",
        f"Wir haben {article} {first}{ending} {thing.german} und {article} {second}{ending} {thing.german}.",
        f"Ich nehme {german.thing_accusative(thing, chosen)}. Was kostet {pronoun}?",
        german.sentence(f"{german.thing_nominative(thing, chosen)} kostet {price} Kronen"),
        f"Gut. {pronoun.capitalize()} ist für {buyer.accusative}.",
        f"Dann packe ich {german.thing_accusative(thing, chosen)} für {buyer.accusative} ein.",
    )


def _news(chance: Random, split: Split, language: Language) -> tuple[str, ...]:
    """News told piece by piece; the last reply puts them together."""
    deed = draw_deed(chance, split, "a")
    assert deed.goods is not None
    assert deed.place is not None
    if language == "en":
        return (
            f"Have you heard about {deed.who.english}?",
            f"No, what did {deed.who.english} do?",
            english.sentence(f"{english.pronoun(deed.who)} {english.predicate(replace(deed, place=None))}"),
            "When was that and where?",
            english.sentence(f"that was {deed.when.english} {deed.place.english_at}"),
            f"So {english.clause(deed)}.",
        )
    return (
        f"Hast du schon von {deed.who.dative} gehört?",
        f"Nein, was hat {deed.who.nominative} gemacht?",
        german.sentence(f"{german.pronoun(deed.who)} hat {german.goods_phrase(deed.goods)} {deed.verb.participle}"),
        "Wann war das und wo?",
        german.sentence(f"das war {deed.when.german} {deed.place.german_at}"),
        f"Also {german.inverted(deed)}.",
    )


def _errand(chance: Random, split: Split, language: Language) -> tuple[str, ...]:
    """Somebody looks for a thing; the reply names them, the thing and the place."""
    deed = _deed_of(chance, split, _FIND)
    assert deed.goods is not None
    assert deed.place is not None
    thing = deed.goods.thing
    if language == "en":
        return (
            f"Hello, I come from {deed.who.english}. I am going {deed.place.english_to}.",
            f"What will you do {deed.place.english_at}?",
            f"I am looking for the {thing.english}.",
            f"I hope that you find the {thing.english} {deed.place.english_at}. Greetings to {deed.who.english}!",
        )
    return (
        f"Hallo, ich komme von {deed.who.dative}. Ich gehe {deed.place.german_to}.",
        f"Was machst du {deed.place.german_at}?",
        f"Ich suche {german.thing_accusative(thing)}.",
        f"Ich hoffe, dass du {german.thing_accusative(thing)} {deed.place.german_at} findest. "
        f"Grüße an {deed.who.accusative}!",
    )


def _deed_of(chance: Random, split: Split, verb: Verb) -> Event:
    """A deed with this verb, for tellings in which the verb never varies: its split is that of what is told."""
    while True:
        deed = replace(draw_deed(chance, split, "a"), verb=verb)
        if deed.split == split:
            return deed


def _another(chance: Random, person: Person) -> Person:
    while (other := draw_person(chance)) is person:
        pass
    return other
