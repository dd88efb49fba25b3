"""What measuring yields: the records that `report.json` is made of. Scores are on the scale 0 to 100."""

from dataclasses import dataclass, field
from typing import Literal

from minikin.text.overlap import Overlap

Verdict = Literal["kept", "missed", "undecided"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a member said to one question; `example` and `group` are the question's.

    `candidates` is how many replies it could select among and `hit` whether it took the true one, None elsewhere.
    `cut` is whether the prompt had to lose a part to leave room for the answer.
    """

    task: str
    example: int
    group: str
    source: str
    output: str
    references: tuple[str, ...]
    candidates: int = 0
    hit: bool | None = None
    cut: bool = False


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure with its 95 % bootstrap interval over `n` examples."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Verdicted:
    """A promise and what became of it. `value` is a share of the reference member's figure."""

    name: str
    target: float
    value: float
    low: float
    high: float
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Efficiency:
    """What a member costs: counted from its shape, and measured in a process of its own.

    `bytes` are counted for 16, 8 and 4 bits; `file_bytes` are the files of weights as they lie there.
    """

    parameters: int
    multiplied: int
    looked_up: int
    flops_per_token: int
    bytes: dict[str, int]
    file_bytes: int
    kv_bytes_per_token: int
    peak_rss_bytes: int
    decode_tokens_per_second: float
    prefill_tokens_per_second: float
    how: str


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One reading while training, losses in nats a token."""

    tokens: int
    loss: float
    held_out: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Training:
    """What building a member took; nothing if it is a checkpoint as it was.

    `gap` is held-out minus training loss, a task, at the end.
    """

    tokens: int
    flops: int
    seconds: float
    objective: str
    curve: tuple[CurvePoint, ...]
    gap: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Precision:
    """A member with its weights rounded as in a GGUF file: the bytes of all weights there, and what that costs.

    `retention` is against the same member's own weights, task → metric → interval, as in `scores`.
    """

    bytes: int
    scores: dict[str, dict[str, Interval]]
    retention: dict[str, dict[str, Interval]]


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A member's score on a part of the test examples.

    `label` is the range of words in the input ("length"), or of how often its rarest word was trained on ("rarity").
    """

    task: str
    by: Literal["length", "rarity"]
    label: str
    score: Interval


@dataclass(frozen=True, kw_only=True)
class MemberReport:
    """All that is known of one member. Scores and retention are task → metric → interval; precisions by GGUF type."""

    parent: str | None
    shape: dict[str, object]
    efficiency: Efficiency
    scores: dict[str, dict[str, Interval]]
    retention: dict[str, dict[str, Interval]]
    promises: tuple[Verdicted, ...]
    training: Training
    limits: tuple[Bucket, ...]
    precisions: dict[str, Precision]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One test example and what every member said."""

    task: str
    source: str
    reference: str
    outputs: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class FamilyReport:
    """`report.json`. `how` says how scores were obtained: examples, resamples, seed, metric signatures.

    `overlap` is what the training data has of the test, a task; nothing where they were not compared.
    """

    recipe: str
    recipe_digest: str
    machine: dict[str, object]
    how: dict[str, str]
    members: dict[str, MemberReport]
    samples: tuple[Sample, ...]
    overlap: dict[str, Overlap] = field(default_factory=dict[str, Overlap])
