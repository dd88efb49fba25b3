"""The words of the village: people, goods, places, times and verbs, each in English and German.

Entries are ordered from common to rare; `text/village/meaning` draws them by Zipf's law.
"""

from minikin.text.village.entries import Gender, Person, Place, Thing, Time, Verb


def _people() -> tuple[Person, ...]:
    women = "Anna Maria Clara Ida Lena Rosa Martha Greta Helga Emma Paula Frieda"
    men = "Otto Karl Jakob Paul Emil Hans Fritz Anton Georg Moritz Ludwig Bruno"
    names = [pair for both in zip(women.split(), men.split(), strict=True) for pair in zip(both, "fm", strict=True)]
    named = [
        Person(english=name, gender=gender, nominative=name, accusative=name, dative=name)  # type: ignore[arg-type]
        for name, gender in names
    ]
    return (*named[:8], *_ROLES[:6], *named[8:], *_ROLES[6:])


def _role(english: str, gender: Gender, german: str, oblique: str | None = None) -> Person:
    articles = {"m": ("der", "den", "dem"), "f": ("die", "die", "der"), "n": ("das", "das", "dem")}[gender]
    forms = (german, oblique or german, oblique or german)
    nominative, accusative, dative = (f"{article} {form}" for article, form in zip(articles, forms, strict=True))
    return Person(english=f"the {english}", gender=gender, nominative=nominative, accusative=accusative, dative=dative)


_ROLES = (
    _role("baker", "m", "Bäcker"),
    _role("teacher", "f", "Lehrerin"),
    _role("farmer", "m", "Bauer", "Bauern"),
    _role("doctor", "f", "Ärztin"),
    _role("miller", "m", "Müller"),
    _role("child", "n", "Kind"),
    _role("smith", "m", "Schmied"),
    _role("gardener", "f", "Gärtnerin"),
    _role("boy", "m", "Junge", "Jungen"),
    _role("grandmother", "f", "Großmutter"),
    _role("fisherman", "m", "Fischer"),
    _role("girl", "n", "Mädchen"),
    _role("mayor", "m", "Bürgermeister"),
    _role("neighbor", "m", "Nachbar", "Nachbarn"),
)
PEOPLE = _people()

_COLORS = ("red", "blue", "green", "white", "black", "brown")


def _things() -> tuple[Thing, ...]:
    rows = [line.split() for line in _THINGS.strip().splitlines()]
    return tuple(
        Thing(
            english=english,
            english_plural=english_plural,
            german=german,
            german_plural=german_plural,
            gender=gender,  # type: ignore[arg-type]
            price=2 + number * 7 % 11,
            colors=(_COLORS[number % 6], _COLORS[(number * 5 + 1 + number // 6) % 6])
            if number % 6 != (number * 5 + 1 + number // 6) % 6
            else (_COLORS[number % 6], _COLORS[(number + 1) % 6]),
        )
        for number, (english, english_plural, german, german_plural, gender) in enumerate(rows)
    )


_THINGS = """
basket baskets Korb Körbe m
key keys Schlüssel Schlüssel m
lamp lamps Lampe Lampen f
book books Buch Bücher n
dog dogs Hund Hunde m
bag bags Tasche Taschen f
chair chairs Stuhl Stühle m
picture pictures Bild Bilder n
cow cows Kuh Kühe f
coat coats Mantel Mäntel m
knife knives Messer Messer n
clock clocks Uhr Uhren f
hat hats Hut Hüte m
bed beds Bett Betten n
cat cats Katze Katzen f
horse horses Pferd Pferde n
table tables Tisch Tische m
bottle bottles Flasche Flaschen f
sheep sheep Schaf Schafe n
ring rings Ring Ringe m
bell bells Glocke Glocken f
shirt shirts Hemd Hemden n
spoon spoons Löffel Löffel m
letter letters Brief Briefe m
flower flowers Blume Blumen f
boat boats Boot Boote n
apple apples Apfel Äpfel m
goat goats Ziege Ziegen f
bicycle bicycles Fahrrad Fahrräder n
pot pots Topf Töpfe m
candle candles Kerze Kerzen f
cloth cloths Tuch Tücher n
cart carts Wagen Wagen m
pear pears Birne Birnen f
egg eggs Ei Eier n
carpet carpets Teppich Teppiche m
pipe pipes Pfeife Pfeifen f
chicken chickens Huhn Hühner n
hammer hammers Hammer Hämmer m
ladder ladders Leiter Leitern f
dress dresses Kleid Kleider n
fish fish Fisch Fische m
goose geese Gans Gänse f
rope ropes Seil Seile n
"""
THINGS = _things()


def _place(english: str, at: str, to: str, german_at: str, german_to: str) -> Place:
    return Place(
        english=english,
        english_at=f"{at} the {english}",
        english_to=f"{to} the {english}",
        german_at=german_at,
        german_to=german_to,
    )


PLACES = (
    _place("market", "at", "to", "auf dem Markt", "auf den Markt"),
    _place("forest", "in", "into", "im Wald", "in den Wald"),
    _place("school", "in", "to", "in der Schule", "in die Schule"),
    _place("river", "by", "to", "am Fluss", "an den Fluss"),
    _place("town", "in", "to", "in der Stadt", "in die Stadt"),
    _place("mill", "in", "to", "in der Mühle", "in die Mühle"),
    _place("garden", "in", "into", "im Garten", "in den Garten"),
    _place("church", "in", "to", "in der Kirche", "in die Kirche"),
    _place("station", "at", "to", "am Bahnhof", "zum Bahnhof"),
    _place("lake", "by", "to", "am See", "an den See"),
    _place("shop", "in", "to", "im Laden", "in den Laden"),
    _place("meadow", "on", "to", "auf der Wiese", "auf die Wiese"),
    _place("castle", "in", "to", "im Schloss", "ins Schloss"),
    _place("bridge", "on", "to", "auf der Brücke", "auf die Brücke"),
)

TIMES = tuple(
    Time(tense=tense, english=english, german=german)  # type: ignore[arg-type]
    for tense, english, german in (
        ("past", "yesterday", "gestern"),
        ("present", "today", "heute"),
        ("past", "on Monday", "am Montag"),
        ("future", "tomorrow", "morgen"),
        ("past", "last week", "letzte Woche"),
        ("present", "every day", "jeden Tag"),
        ("past", "this morning", "heute Morgen"),
        ("future", "next week", "nächste Woche"),
        ("past", "last night", "gestern Abend"),
        ("present", "every Sunday", "jeden Sonntag"),
        ("past", "on Friday", "am Freitag"),
        ("future", "in the spring", "im Frühling"),
    )
)

ADJECTIVES = (
    ("old", "alt"),
    ("new", "neu"),
    ("small", "klein"),
    ("red", "rot"),
    ("big", "groß"),
    ("beautiful", "schön"),
    ("blue", "blau"),
    ("heavy", "schwer"),
    ("green", "grün"),
    ("cheap", "billig"),
    ("white", "weiß"),
    ("good", "gut"),
    ("black", "schwarz"),
    ("strange", "seltsam"),
    ("brown", "braun"),
)
GERMAN_COLORS = {english: german for english, german in ADJECTIVES if english in _COLORS}


def _verb(kind: str, english: str, german: str) -> Verb:
    base, third, past = english.split()
    infinitive, german_third, participle, *rest = german.split()
    prefix = next((word for word in rest if word != "ist"), "")
    auxiliary = "ist" if "ist" in rest else "hat"
    return Verb(
        kind=kind,  # type: ignore[arg-type]
        english=base,
        english_third=third,
        english_past=past,
        infinitive=infinitive,
        third=german_third,
        participle=participle,
        prefix=prefix,
        auxiliary=auxiliary,
    )


VERBS = (
    _verb("thing", "buy buys bought", "kaufen kauft gekauft"),
    _verb("thing", "find finds found", "finden findet gefunden"),
    _verb("way", "go goes went", "gehen geht gegangen ist"),
    _verb("gift", "give gives gave", "geben gibt gegeben"),
    _verb("thing", "see sees saw", "sehen sieht gesehen"),
    _verb("thing", "sell sells sold", "verkaufen verkauft verkauft"),
    _verb("gift", "bring brings brought", "bringen bringt gebracht"),
    _verb("thing", "repair repairs repaired", "reparieren repariert repariert"),
    _verb("way", "drive drives drove", "fahren fährt gefahren ist"),
    _verb("thing", "fetch fetches fetched", "holen holt abgeholt ab"),
    _verb("thing", "carry carries carried", "tragen trägt getragen"),
    _verb("gift", "show shows showed", "zeigen zeigt gezeigt"),
    _verb("thing", "lose loses lost", "verlieren verliert verloren"),
    _verb("thing", "need needs needed", "brauchen braucht gebraucht"),
    _verb("way", "run runs ran", "laufen läuft gelaufen ist"),
    _verb("thing", "paint paints painted", "malen malt angemalt an"),
    _verb("gift", "offer offers offered", "bieten bietet angeboten an"),
    _verb("thing", "forget forgets forgot", "vergessen vergisst vergessen"),
    _verb("thing", "clean cleans cleaned", "putzen putzt geputzt"),
    _verb("way", "return returns returned", "kehren kehrt zurückgekehrt zurück ist"),
    _verb("thing", "pack packs packed", "packen packt eingepackt ein"),
    _verb("gift", "send sends sent", "schicken schickt geschickt"),
)
