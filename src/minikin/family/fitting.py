"""What a member's training is made of: where its weights begin, what it minimises, which rows it sees."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

from minikin.base.seeds import torch_generator
from minikin.family.recipe import Data, Member, Optimization
from minikin.family.site import Site, teacher_of
from minikin.family.supply import sources_of
from minikin.model.checkpoint import load
from minikin.model.decoder import Decoder, initialized
from minikin.shrink.cut import Kept, choose, cut
from minikin.shrink.importance import importance
from minikin.text.batches import Batch, Mixture, PackedCorpus, Share
from minikin.text.corpus import Corpus
from minikin.text.sources import Task
from minikin.train.objective import Distill, NextToken, Objective, held_out_loss
from minikin.train.teacher import Teacher

_HELD_OUT_ROWS = 48
_IMPORTANCE_SAMPLES = 1024  # for a member that is cut, but not distilled


def beginning(site: Site, name: str, member: Member, mixture: Mixture) -> tuple[Decoder, Kept | None]:
    """A decoder to be trained, and what it kept of its parent."""
    config = site.planned[name].config
    if member.parent is None:
        return initialized(config, torch_generator(site.recipe.seed, "weights", name)), None
    parent = load(site.store.folder(member.parent)).eval()
    samples = member.distill.importance_samples if member.distill else _IMPORTANCE_SAMPLES
    scores = importance(parent, (mixture.batch(step) for step in range(max(1, samples // mixture.batch_rows))))
    kept = choose(scores, config)
    return cut(parent, config, kept), kept


def objective(site: Site, member: Member, kept: Kept | None) -> Objective:
    """The data's next tokens, or the teacher's view of them."""
    if member.distill is None or kept is None:
        return NextToken()
    teacher = load(site.store.folder(teacher_of(member))).eval()
    return Distill(
        teacher=Teacher(decoder=teacher, kept_hidden=kept.hidden),
        truth_share=member.distill.truth_share,
        temperature=member.distill.temperature,
        hidden_weight=member.distill.hidden_weight,
    )


def mixture(site: Site, name: str, optimization: Optimization) -> Mixture:
    """Training rows by the tasks' shares; of a task that the teacher wrote answers for, half are the teacher's."""
    data, written = site.recipe.data, site.store.folder(f"written/{name}")
    shares: list[Share] = []
    for task, sources in sources_of(data).items():
        found = _by_source(site, task, sources)
        if _has_written(site, name) and (written / task).is_dir():
            rows = _packed(site, written / task)
            found = [replace(share, share=share.share / 2) for share in found]
            found.append(Share(name=f"{task} by the teacher", rows=rows, share=sources.share / 2))
        shares += found
    return Mixture(shares, max(1, optimization.batch_tokens // data.sequence_length), site.recipe.seed)


def held_out(site: Site, split: str) -> Callable[[Decoder], dict[str, float]]:
    """The loss of the answers a task, on the first rows of a split."""
    length = site.recipe.data.sequence_length
    tasks = sorted((site.store.folder("data") / split).iterdir())
    packed = {
        task.name: [PackedCorpus(Corpus(source), length, 0.0) for source in sorted(task.iterdir())] for task in tasks
    }

    def losses(decoder: Decoder) -> dict[str, float]:
        return {task: held_out_loss(decoder, _first_rows(sources)) for task, sources in packed.items()}

    return losses


def _by_source(site: Site, task: Task, data: Data) -> list[Share]:
    """A task's share, divided among its sources by their size and weight."""
    folder = site.store.folder("data") / "train" / task
    rows = [_packed(site, folder / str(number)) for number in range(len(data.train))]
    parts = [weighed.weight * len(each) for weighed, each in zip(data.train, rows, strict=True)]
    names = [f"{task} {weighed.source}" for weighed in data.train] if len(rows) > 1 else [task]
    return [
        Share(name=name, rows=each, share=data.share * part / sum(parts))
        for name, each, part in zip(names, rows, parts, strict=True)
    ]


def _packed(site: Site, folder: Path) -> PackedCorpus:
    return PackedCorpus(Corpus(folder), site.recipe.data.sequence_length, site.recipe.data.prompt_weight)


def _first_rows(sources: list[PackedCorpus]) -> Iterator[Batch]:
    """The same number of rows of every source, about `_HELD_OUT_ROWS` in all."""
    each = max(1, _HELD_OUT_ROWS // len(sources) // 16)
    return chain.from_iterable(islice(rows.in_order(16), each) for rows in sources)


def _has_written(site: Site, name: str) -> bool:
    distill = site.recipe.member[name].distill
    return distill is not None and distill.teacher_answers > 0
