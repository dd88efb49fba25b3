"""The trainings that a member goes through: who teaches, how many tokens, and the operations of each, counted."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from minikin.family.recipe import Kind, Member, Quantization
from minikin.model.config import Config

ON_POLICY = "on_policy"


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One training: its tokens, and the operations of each, of the member and of whoever teaches it."""

    tokens: int
    flops_per_token: float


def phases(
    name: str, member: Member, quantize: Mapping[Kind, Quantization], configs: Mapping[str, Config]
) -> dict[str, Phase]:
    """A member's trainings in their order, by what the recipe calls them, given all shapes up to its own."""
    return dict(_phases(name, member, quantize, configs))


def recovery(kind: str) -> str:
    """What the training of a member on the grids of a kind is called."""
    return f"quantize.{kind}.distill"


def teacher_of(member: Member) -> str:
    """The member that a distilled one learns from."""
    assert member.distill is not None
    return member.distill.teacher or member.parent or ""


def corrector_of(member: Member) -> str:
    """The member that judges another's own answers."""
    assert member.on_policy is not None
    return member.on_policy.teacher or (teacher_of(member) if member.distill else member.parent) or ""


def _phases(
    name: str, member: Member, quantize: Mapping[Kind, Quantization], configs: Mapping[str, Config]
) -> Iterator[tuple[str, Phase]]:
    """A teacher only reads, which is a third of what learning costs; own answers are read once by whom they are of."""
    own = configs[name].flops_per_token()
    learning = configs[name].training_flops_per_token()
    if member.train:
        yield "train", Phase(tokens=member.train.tokens, flops_per_token=learning)
    if member.distill:
        taught = learning + configs[teacher_of(member)].flops_per_token()
        yield "distill", Phase(tokens=member.distill.tokens, flops_per_token=taught)
    if asked := member.on_policy:
        judged = learning + configs[corrector_of(member)].flops_per_token() + asked.own_share * own
        yield ON_POLICY, Phase(tokens=asked.tokens, flops_per_token=judged)
    for kind, quantization in quantize.items():
        if lessons := quantization.distill:
            yield recovery(kind), Phase(tokens=lessons.tokens, flops_per_token=learning + own)
