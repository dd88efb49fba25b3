"""What a member's training is made of: where its weights begin, what it minimises, which rows it sees."""

from collections.abc import Callable
from itertools import islice

from minikin.base.seeds import torch_generator
from minikin.family.recipe import Member, Optimization
from minikin.family.site import Site, teacher_of
from minikin.family.supply import sources_of
from minikin.model.checkpoint import load
from minikin.model.decoder import Decoder, initialized
from minikin.shrink.cut import Kept, choose, cut
from minikin.shrink.importance import importance
from minikin.text.batches import Mixture, PackedCorpus, Share
from minikin.text.corpus import Corpus
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
    data, length = site.recipe.data, site.recipe.data.sequence_length
    folder, written = site.store.folder("data") / "train", site.store.folder(f"written/{name}")
    shares = []
    for task, sources in sources_of(data).items():
        corpora = {task: folder / task}
        if _has_written(site, name) and (written / task).is_dir():
            corpora[f"{task} by the teacher"] = written / task
        for title, path in corpora.items():
            rows = PackedCorpus(Corpus(path), length, data.prompt_weight)
            shares.append(Share(name=title, rows=rows, share=sources.share / len(corpora)))
    return Mixture(shares, max(1, optimization.batch_tokens // length), site.recipe.seed)


def held_out(site: Site, split: str) -> Callable[[Decoder], dict[str, float]]:
    """The loss of the answers a task, on the first rows of a split."""
    length = site.recipe.data.sequence_length
    folders = sorted((site.store.folder("data") / split).iterdir())
    packed = {folder.name: PackedCorpus(Corpus(folder), length, 0.0) for folder in folders}

    def losses(decoder: Decoder) -> dict[str, float]:
        return {
            task: held_out_loss(decoder, islice(rows.in_order(16), _HELD_OUT_ROWS // 16))
            for task, rows in packed.items()
        }

    return losses


def _has_written(site: Site, name: str) -> bool:
    distill = site.recipe.member[name].distill
    return distill is not None and distill.teacher_answers > 0
