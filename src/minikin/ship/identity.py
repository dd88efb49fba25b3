"""Who a member is: what its folder says of name, origin and licence, and the file name that follows from it.

Nothing is made up: what neither the model card nor the provenance says is left out. Only the version has a
default, v1.0, because that is what the naming convention reads into a name without one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from minikin.base.errors import CheckpointError
from minikin.base.files import read_json
from minikin.model.checkpoint import GENERATION

VERSION = "v1.0"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A model or a data set that this one was made from."""

    name: str
    organization: str | None = None
    url: str | None = None


@dataclass(frozen=True, kw_only=True)
class Identity:
    """General facts about a member; empty where nothing is known."""

    name: str
    basename: str
    size_label: str
    finetune: str | None
    texts: Mapping[str, str] = field(default_factory=dict)  # by GGUF key, as general.license
    languages: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    base_models: tuple[Origin, ...] = ()
    datasets: tuple[Origin, ...] = ()
    sampling: Mapping[str, float] = field(default_factory=dict)  # temp, top_k, top_p, min_p, penalty_repeat

    def file_name(self, kind: str) -> str:
        """BaseName-SizeLabel-FineTune-Version-Encoding.gguf, as the GGUF specification wants it."""
        parts = (self.basename, self.size_label, self.finetune, VERSION, kind.upper())
        return "-".join(part for part in parts if part) + ".gguf"


def read_identity(folder: Path, parameters: int, *, chats: bool) -> Identity:
    """What the model card, the provenance and the generation settings of a folder say."""
    card, facts = card_metadata(folder), _optional_json(folder / "provenance.json")
    family, own = facts.get("recipe"), _own_name(folder.resolve(), facts)
    name = f"minikin {family} {own}" if family else own
    return Identity(
        name=name,
        basename=_segments(name),
        size_label=size_label(parameters),
        finetune="it" if chats else None,
        texts=_texts(card),
        languages=_listed(card.get("language")),
        tags=_listed(card.get("tags")) + _listed(card.get("pipeline_tag")),
        base_models=tuple(_origin(base) for base in _listed(card.get("base_model"))) or _parent(facts),
        datasets=tuple(_origin(data, "datasets/") for data in _listed(card.get("datasets"))),
        sampling=_sampling(_optional_json(folder / GENERATION)),
    )


def size_label(parameters: int) -> str:
    """A count of weights as people say it: 46K, 0.3M, 7.4M, 270M, 5.1B."""
    for unit, letter, least in ((1e9, "B", 0.9995), (1e6, "M", 0.0995)):
        count = parameters / unit
        if count >= least:
            return f"{count:.1f}{letter}" if count < 99.95 else f"{count:.0f}{letter}"
    return f"{max(1, round(parameters / 1e3))}K"


def _own_name(folder: Path, facts: Mapping[str, Any]) -> str:
    """The folder's; of a member of few bits, whose folder is called as its kind, the member's before it."""
    return f"{folder.parent.name} {folder.name}" if facts.get("stage") == "quantized" else folder.name


def _segments(name: str) -> str:
    """A name in the letters that the convention allows: each part all digits, or not beginning with one."""
    parts = re.findall(r"[0-9]+|[A-Za-z][A-Za-z0-9]*", name)
    return "-".join(parts) or "model"


def card_metadata(folder: Path) -> Mapping[str, Any]:
    """The YAML between the first two lines of dashes of README.md; empty where there is none."""
    path = folder / "README.md"
    if not path.is_file():
        return {}
    try:
        found = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", path.read_text(encoding="utf-8"), re.DOTALL)
        card = yaml.safe_load(found.group(1)) if found else {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{path}: its metadata is no valid YAML ({' '.join(str(error).split())}); mend it"
        ) from error
    return card if isinstance(card, dict) else {}


def _optional_json(path: Path) -> Mapping[str, Any]:
    found = read_json(path) if path.is_file() else {}
    return found if isinstance(found, dict) else {}


def _texts(card: Mapping[str, Any]) -> dict[str, str]:
    keys = {
        "license": "general.license",
        "license_name": "general.license.name",
        "license_link": "general.license.link",
    }
    return {key: str(card[said]) for said, key in keys.items() if isinstance(card.get(said), str)}


def _listed(value: Any) -> tuple[str, ...]:
    """One text or a list of texts, as a model card may have either; YAML takes Norwegian for False."""
    values = value if isinstance(value, list) else [] if value is None else [value]
    return tuple("no" if entry is False else str(entry) for entry in values)


def _origin(identifier: str, room: str = "") -> Origin:
    organization, _, name = identifier.rpartition("/")
    if not organization:
        return Origin(name=name)
    return Origin(name=name, organization=organization, url=f"https://huggingface.co/{room}{identifier}")


def _parent(facts: Mapping[str, Any]) -> tuple[Origin, ...]:
    parent = facts.get("parent")
    return (Origin(name=f"minikin {facts.get('recipe')} {parent}"),) if parent else ()


def _sampling(generation: Mapping[str, Any]) -> dict[str, float]:
    """Transformers' settings, if any; where it does not draw, the likeliest token, which is temperature 0."""
    if not generation:
        return {}
    drawn = {"temperature": "temp", "top_k": "top_k", "top_p": "top_p", "min_p": "min_p"}
    named = (drawn if generation.get("do_sample") else {}) | {"repetition_penalty": "penalty_repeat"}
    found = {key: generation[said] for said, key in named.items() if isinstance(generation.get(said), int | float)}
    return found if generation.get("do_sample") else {"temp": 0.0} | found
