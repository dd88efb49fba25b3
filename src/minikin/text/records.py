"""One record shape a task: what files, the village and the measures speak of.

Every record has one or more reference answers; the first is what a model is trained on. `complexity`, a number or
a short label, is what its data may tell of how hard it is; the report's limits are told by it.
"""

from dataclasses import dataclass

Complexity = float | str | None


@dataclass(frozen=True, kw_only=True)
class Translation:
    """A sentence in two languages; languages are ISO 639-1 codes such as "en"."""

    source: str
    target: str
    source_lang: str
    target_lang: str
    references: tuple[str, ...] = ()
    complexity: Complexity = None


@dataclass(frozen=True, kw_only=True)
class Summarization:
    """A document and what it comes down to."""

    document: str
    summary: str
    references: tuple[str, ...] = ()
    complexity: Complexity = None


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One speaker's words in a dialogue."""

    role: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Dialogue:
    """Turns of two or more roles, in the order they were said."""

    turns: tuple[Turn, ...]
    complexity: Complexity = None


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which of the candidates does `role` say next? `answer` is the index of the true one."""

    context: tuple[Turn, ...]
    role: str
    candidates: tuple[str, ...]
    answer: int
    complexity: Complexity = None


@dataclass(frozen=True, kw_only=True)
class Text:
    """Plain text, every token of which is learned."""

    text: str


Record = Translation | Summarization | Dialogue | Selection | Text
