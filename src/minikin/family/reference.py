"""The recipe's reference as Markdown, made from the fields themselves; `make docs` writes it to docs/recipe.md."""

import sys
from collections.abc import Iterator
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from minikin.family.corpora import Corpora, Data, WeighedSource
from minikin.family.decodings import TaskDecoding
from minikin.family.learning import Distillation, OnPolicy, Optimization, Quantization, Recovery, TeacherAnswers
from minikin.family.recipe import (
    Card,
    Hardware,
    Measure,
    Member,
    Promise,
    Published,
    Recipe,
    Shape,
    Vocabulary,
)

_TABLES: dict[str, type[BaseModel]] = {
    "": Recipe,
    "data": Corpora,
    "data.TASK": Data,
    "data.TASK.train": WeighedSource,
    "tokenizer": Vocabulary,
    "member.NAME": Member,
    "member.NAME.shape": Shape,
    "member.NAME.train": Optimization,
    "member.NAME.distill": Distillation,
    "member.NAME.distill.teacher_answers": TeacherAnswers,
    "member.NAME.on_policy": OnPolicy,
    "member.NAME.promise": Promise,
    "member.NAME.published": Published,
    "quantize.KIND": Quantization,
    "quantize.KIND.distill": Recovery,
    "measure": Measure,
    "measure.decoding.TASK": TaskDecoding,
    "hardware": Hardware,
    "card": Card,
}
_INTRODUCTION = """\
# The recipe

A recipe is a TOML file; `recipes/village.toml` is a whole one. It is read strictly: an unknown field, a value of the
wrong type or a member that does not exist is named with its path. Any field can be overridden on the command line:

    minikin build recipes/village.toml --set member.nano.distill.tokens=2e6

Ratios may be written as "1/4" or 0.25. TASK is translation, summarization, dialogue or text; KIND is q8_0 or q4_0;
NAME is any name, and parents come before children. This page is generated from the fields themselves by `make docs`.
"""


def reference() -> str:
    """The whole page."""
    return _INTRODUCTION + "".join(_table(path, model) for path, model in _TABLES.items())


def _table(path: str, model: type[BaseModel]) -> str:
    title = f"`[{path}]`" if path else "Top level"
    doc = " ".join((model.__doc__ or "").split())
    rows = "".join(_rows(model))
    return f"\n## {title}\n\n{doc}\n\n| field | type | default | meaning |\n| --- | --- | --- | --- |\n{rows}"


def _rows(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if field.description:
            yield f"| `{field.alias or name}` | {_type(field)} | {_default(field)} | {field.description} |\n"


def _type(field: FieldInfo) -> str:
    return _name(field.annotation)


def _name(annotation: Any) -> str:
    if isinstance(annotation, UnionType):
        return _name(next(part for part in get_args(annotation) if part is not type(None)))
    if get_origin(annotation) is Literal:
        return " or ".join(get_args(annotation))
    if get_args(annotation):
        origin = getattr(annotation, "__origin__", annotation)
        if origin is list:
            named = _name(get_args(annotation)[0])
            return f"list of {named}s" if named == "table" else f"list of {named}"
        if origin is dict:
            return "tables" if _is_table(get_args(annotation)[1]) else "table"
        return _name(get_args(annotation)[0])
    if _is_table(annotation):
        return "table"
    return {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}[annotation.__name__]


def _is_table(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default is None or isinstance(field.default, BaseModel):
        return "–"
    if isinstance(field.default, dict) and field.default:
        return " and ".join(f"`{name}`" for name in field.default)
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


if __name__ == "__main__":
    sys.stdout.write(reference())
