"""The kinds of fields that recipes are made of."""

import re
from fractions import Fraction
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

MAX_POSITIONS = 2048  # the context of every member, in tokens


class Strict(BaseModel):
    """A table of a recipe: every field known, every value of its type, nothing changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _ratio(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"\s*\d+\s*/\s*[1-9]\d*\s*", value):
        return float(Fraction(value.replace(" ", "")))
    if isinstance(value, str):
        raise ValueError(f'found {value!r}; expected a share such as 0.25 or "1/4"')
    return value


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _source(value: str) -> str:
    if value.partition(":")[0] == "village" and not re.fullmatch(r"village:[1-9]\d*", value):
        raise ValueError("expected village:COUNT such as village:10000")
    return value


def _flat(value: Any) -> Any:
    """`turns.text = PLACE` in TOML is a table in a table; here "turns.text" is one name."""
    if not isinstance(value, dict):
        return value
    flat: dict[str, Any] = {}
    for name, place in value.items():
        inner = {f"{name}.{part}": at for part, at in place.items()} if isinstance(place, dict) else {name: place}
        flat.update(inner)
    return flat


Ratio = Annotated[float, BeforeValidator(_ratio), Field(gt=0, le=1)]  # 0.25 or "1/4"
Count = Annotated[int, BeforeValidator(_whole), Field(gt=0)]  # 2000000 or 2e6
Whole = Annotated[int, BeforeValidator(_whole), Field(ge=0)]  # the same, or none
Share = Annotated[float, Field(ge=0, le=1)]
Source = Annotated[str, AfterValidator(_source)]
Places = Annotated[dict[str, str], BeforeValidator(_flat)]
