"""What a member's training is made of: where its weights begin, what it minimises, which rows it sees."""

from pathlib import Path

from minikin.base.device import compiles
from minikin.base.seeds import torch_generator
from minikin.family.corpora import Data
from minikin.family.learning import Optimization
from minikin.family.origin import origin_folder
from minikin.family.phases import teacher_of
from minikin.family.recipe import Member
from minikin.family.site import Site, written_name
from minikin.model.checkpoint import in_memory, load, placed
from minikin.model.compiled import CompiledPass
from minikin.model.decoder import Decoder, initialized
from minikin.model.embed import REPLY_ROW
from minikin.shrink.choose import Kept, choose
from minikin.shrink.cut import cut
from minikin.shrink.importance import importance
from minikin.text.batches import PackedCorpus
from minikin.text.chat import encode_prompt
from minikin.text.corpus import Corpus
from minikin.text.mapping import Task
from minikin.text.mixture import Mixture, Share
from minikin.text.tokenizer import Tokenizer
from minikin.train.objective import Distill, NextToken, Objective
from minikin.train.replying import Replying
from minikin.train.teacher import Teacher

_IMPORTANCE_SAMPLES = 1024  # for a member that is cut, but not distilled


def beginning(site: Site, name: str, member: Member, mixture: Mixture) -> tuple[Decoder, Kept | None]:
    """A decoder to be trained, and what it kept of its parent."""
    config = site.planned[name].config
    if member.origin is not None:
        return ready(site, in_memory(adopted(site, member.origin, name)), mixture), None
    if member.parent is None:
        drawn = initialized(config, torch_generator(site.recipe.seed, "weights", name))
        return ready(site, drawn, mixture), None
    parent = placed(load(site.store.folder(member.parent)).eval(), site.device)
    samples = member.distill.importance_samples if member.distill else _IMPORTANCE_SAMPLES
    scores = importance(parent, (mixture.batch(step) for step in range(max(1, samples // mixture.batch_rows))))
    kept = choose(scores, parent.config, config)
    return ready(site, cut(parent, config, kept), mixture), kept


def ready(site: Site, decoder: Decoder, rows: Mixture) -> Decoder:
    """A decoder on the site's device, with its passes over a training's batches compiled if the recipe says so."""
    decoder = placed(decoder, site.device)
    if compiles(site.recipe.compile, site.device):
        short = REPLY_ROW if site.recipe.data.replies_told_apart else 0
        decoder.compiled = CompiledPass(decoder, (rows.batch_rows, rows.length), short=short)
    return decoder


def adopted(site: Site, origin: str, name: str) -> Decoder:
    """A checkpoint as a member: its weights, and the ends of an answer that its chat format has."""
    return load(origin_folder(origin), site.planned[name].config).eval()


def objective(site: Site, member: Member, kept: Kept | None, rows: Mixture) -> Objective:
    """The data's next tokens, or the teacher's view of them."""
    if member.distill is None:
        return NextToken(replying=_replying(site))
    assert kept is not None
    teacher = ready(site, load(site.store.folder(teacher_of(member))).eval(), rows)
    return Distill(
        teacher=Teacher(decoder=teacher, kept_hidden=kept.hidden),
        truth_share=member.distill.truth_share,
        temperature=member.distill.temperature,
        hidden_weight=member.distill.hidden_weight,
        replying=_replying(site),
    )


def judged_by(site: Site, name: str, rows: Mixture) -> Objective:
    """Another member's view alone: what words follow is nobody's truth."""
    teacher = ready(site, load(site.store.folder(name)).eval(), rows)
    return Distill(teacher=Teacher(decoder=teacher, kept_hidden=()), truth_share=0.0, replying=_replying(site))


def mixture(site: Site, name: str, optimization: Optimization) -> Mixture:
    """Training rows by the tasks' shares; of a task that the teacher wrote answers for, half are the teacher's."""
    data, distill = site.recipe.data, site.recipe.member[name].distill
    shares: list[Share] = []
    for task, sources in data.tasks.items():
        whole = distill.shares.get(task, sources.share) if distill else sources.share
        answers = _written(site, name, task)
        part = whole / 2 if answers else whole
        shares += _by_source(site, task, sources, part)
        if answers:
            rows = _packed(site, sources, answers)
            shares.append(Share(task=task, name=f"{task} by the teacher", rows=rows, share=part, by_people=False))
    return Mixture(shares, max(1, optimization.batch_tokens // data.sequence_length), site.recipe.seed)


def _by_source(site: Site, task: Task, data: Data, whole: float) -> list[Share]:
    """A task's share of rows, divided among its sources by their size and weight."""
    folder = site.store.folder("data") / "train" / task
    rows = [_packed(site, data, folder / str(number)) for number in range(len(data.train))]
    parts = [weighed.weight * len(each) for weighed, each in zip(data.train, rows, strict=True)]
    names = [f"{task} {weighed.source}" for weighed in data.train] if len(rows) > 1 else [task]
    return [
        Share(task=task, name=name, rows=each, share=whole * part / sum(parts))
        for name, each, part in zip(names, rows, parts, strict=True)
    ]


def _replying(site: Site) -> Replying | None:
    dialogue = site.recipe.data.dialogue
    if dialogue is None or not dialogue.reply_weight:
        return None
    tokenizer = Tokenizer.load(site.store.folder("data"))
    return Replying(opening=tuple(encode_prompt(tokenizer, ())), weight=dialogue.reply_weight)


def _packed(site: Site, data: Data, folder: Path) -> PackedCorpus:
    weight = site.recipe.data.prompt_weight if data.prompt_weight is None else data.prompt_weight
    told_apart = data.reply_weight > 0
    length = site.recipe.data.sequence_length
    return PackedCorpus(Corpus(folder), length, weight, told_apart=told_apart, block=data.block_length)


def _written(site: Site, name: str, task: Task) -> Path | None:
    """Where the answers are that a member's teacher wrote for a task, if it did."""
    distill = site.recipe.member[name].distill
    if distill is None or not distill.teacher_answers.any:
        return None
    folder = site.store.folder(written_name(site, name)) / task
    return folder if folder.is_dir() else None
