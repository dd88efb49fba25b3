"""What measuring yields: the records that `report.json` is made of. Scores are on the scale 0 to 100."""

from dataclasses import dataclass, field
from typing import Literal

from minikin.text.overlap import Overlap

Verdict = Literal["kept", "missed", "undecided"]
By = Literal["length", "rarity", "complexity"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a member said to one question; `example`, `group` and `complexity` are the question's.

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
    complexity: float | str | None = None


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure with its 95 % bootstrap interval over `n` examples."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Verdicted:
    """A promise and what became of it. `value` is a share of the reference member's figure.

    `reason` says why nothing could be decided, if it is not that the interval straddles the target.
    """

    name: str
    target: float
    value: float
    low: float
    high: float
    verdict: Verdict
    reason: str = ""


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
class Kept:
    """Whose weights of a training a member has, by name, and what each candidate scored: the mean over tasks."""

    name: str
    scores: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Training:
    """What building a member took; nothing if it is a checkpoint as it was.

    `gap` is held-out minus training loss, a task, at the end; `epochs` how often each source was seen.
    `dropout` and `weight_decay` are those that the training had. `tokens_per_second` and `mfu` count all of `seconds`,
    looks at held-out data and saving included; `mfu`, model FLOPs utilisation, is the share of the recipe's hardware's
    peak that training operations make (Chowdhery et al. 2022, "PaLM", appendix B, without attention), on a GPU only.
    """

    tokens: int
    flops: int
    seconds: float
    objective: str
    curve: tuple[CurvePoint, ...]
    gap: dict[str, float]
    epochs: dict[str, float]
    dropout: float = 0.0
    weight_decay: float = 0.0
    tokens_per_second: float = 0.0
    mfu: float | None = None
    kept: Kept | None = None


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
    """A member's score on a part of the test examples, and what it keeps there of the first member's.

    `label` is the range of words in the input ("length"), of how often its rarest word was trained on ("rarity"), or
    of how hard its records say that it is, or look ("complexity").
    """

    task: str
    by: By
    label: str
    score: Interval
    retention: Interval


@dataclass(frozen=True, kw_only=True)
class MemberReport:
    """All that is known of one member. Scores and retention are task → metric → interval; precisions by GGUF type.

    A task that is scored as the mean of several groups has each of them in `group_scores` and `group_retention`:
    task → group → metric → interval.
    """

    parent: str | None
    shape: dict[str, object]
    efficiency: Efficiency
    scores: dict[str, dict[str, Interval]]
    retention: dict[str, dict[str, Interval]]
    group_scores: dict[str, dict[str, dict[str, Interval]]]
    group_retention: dict[str, dict[str, dict[str, Interval]]]
    promises: tuple[Verdicted, ...]
    training: Training
    limits: tuple[Bucket, ...]
    precisions: dict[str, Precision]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One test example and what every member said, with its score of this one answer and whether it chose rightly.

    "hurts most" are those on which the last member falls furthest behind the first. `hits` is empty where there was
    nothing to select among.
    """

    kind: Literal["typical", "hurts most"]
    task: str
    source: str
    reference: str
    outputs: dict[str, str]
    scores: dict[str, float]
    hits: dict[str, bool]


@dataclass(frozen=True, kw_only=True)
class FamilyReport:
    """`report.json`. `how` says how scores were obtained: examples, resamples, seed, metric signatures.

    `chance` is, by metric, what needs no skill: of a score whose interval reaches down to it, no share says anything;
    `group_chance` is the same task → group → metric.
    `overlap` is what the training data has of the test, a task; nothing where they were not compared.
    """

    recipe: str
    recipe_digest: str
    machine: dict[str, object]
    how: dict[str, str]
    chance: dict[str, float]
    members: dict[str, MemberReport]
    samples: tuple[Sample, ...]
    group_chance: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict[str, dict[str, dict[str, float]]])
    overlap: dict[str, Overlap] = field(default_factory=dict[str, Overlap])


def group_chance(report: FamilyReport, task: str, group: str) -> dict[str, float]:
    """What needs no skill on a group; that of the task where it was not found out."""
    return report.group_chance.get(task, {}).get(group, report.chance)
