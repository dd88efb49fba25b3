"""The stages of a family, one short function each. A stage reads artifacts and writes one.

What a stage depends on is in its key; whatever else it is given only tells where things are.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path

from minikin import __version__
from minikin.base.files import digest, write_json, write_text
from minikin.base.log import Log
from minikin.base.seeds import torch_generator
from minikin.family.plan import PlannedMember
from minikin.family.recipe import Member, Optimization, Recipe
from minikin.family.store import Store
from minikin.family.supply import fingerprint, tasks_of, test_records, training_records
from minikin.measure.examine import examine
from minikin.measure.limits import words
from minikin.measure.records import Answer
from minikin.measure.tasks import questions, selections
from minikin.model.checkpoint import load, save
from minikin.model.decoder import Decoder, initialized
from minikin.shrink.cut import Kept, choose, cut
from minikin.shrink.importance import importance
from minikin.text.batches import Mixture, PackedCorpus, Share
from minikin.text.chat import chat_template, encode_example, messages
from minikin.text.corpus import Corpus, write_corpus
from minikin.text.records import Dialogue, Record, Text
from minikin.text.tokenizer import Tokenizer
from minikin.train.loop import Run, fit
from minikin.train.objective import Distill, NextToken, Objective, held_out_loss
from minikin.train.optimizer import Optimizers, Schedule
from minikin.train.state import Reached, States
from minikin.train.teacher import Teacher

_VERSION = "1"  # raise it when a stage begins to mean something else
_SAVE_SECONDS = 60.0
_LOOKS = 10
_HELD_OUT_ROWS = 48


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where a family is built: its recipe, the planned shapes, the store and the log."""

    recipe: Recipe
    planned: dict[str, PlannedMember]
    store: Store
    log: Log


def data_key(site: Site) -> str:
    """Key of tokenizer and corpora."""
    recipe = site.recipe
    tasks = tasks_of(recipe.data)
    prints = [fingerprint(source) for data in tasks.values() for source in (*data.train, *data.test, *data.select)]
    shape = recipe.data.model_dump_json(exclude={"prompt_weight": True, **{task: {"share"} for task in tasks}})
    return digest(_VERSION, str(recipe.seed), shape, recipe.tokenizer.model_dump_json(), *prints)


def member_key(site: Site, name: str) -> str:
    """Key of a trained member: its data, shape, training, parent and teacher."""
    member = site.recipe.member[name]
    training = member.model_dump_json(include={"train", "distill", "parent"})
    shares = json.dumps({task: data.share for task, data in tasks_of(site.recipe.data).items()})
    above = [member_key(site, other) for other in _above(member)]
    shape = json.dumps(asdict(site.planned[name].config))
    return digest(_VERSION, data_key(site), shape, training, shares, str(site.recipe.data.prompt_weight), name, *above)


def answers_key(site: Site, name: str) -> str:
    """Key of a member's answers to the test."""
    measure = site.recipe.measure
    return digest(_VERSION, member_key(site, name), str(measure.max_examples), str(measure.max_new_tokens))


def prepare_data(site: Site) -> None:
    """Tokenizer and token shards of every task, held-out documents, and how often each word was seen."""
    recipe, tasks = site.recipe, tasks_of(site.recipe.data)
    with site.store.fresh("data", data_key(site), {"stage": "data"}) as folder:
        texts = chain.from_iterable(
            islice(_texts(training_records(task, data, recipe.seed)), 2 * recipe.data.tokenizer_examples)
            for task, data in tasks.items()
        )
        tokenizer = Tokenizer.train(texts, recipe.tokenizer.vocab_size)
        tokenizer.save(folder, next(iter(site.planned.values())).config.max_position_embeddings, chat_template())
        seen: Counter[str] = Counter()
        for task, data in tasks.items():
            records = _counted(training_records(task, data, recipe.seed), seen)
            size = _write(folder / "train" / task, records, tokenizer)
            site.log.say(f"  {task}: {size.documents:,} documents, {size.tokens:,} tokens")
            held_out = test_records(task, data, recipe.seed, recipe.measure.max_examples)
            if data.test or data.select:
                _write(folder / "test" / task, held_out, tokenizer)
        write_json(folder / "words.json", dict(seen.most_common()))


def train_member(site: Site, name: str) -> None:
    """Fit one member: from random weights, or cut from its parent; to the data, or to a teacher."""
    member, config = site.recipe.member[name], site.planned[name].config
    optimization = member.distill or member.train
    assert optimization is not None
    key = member_key(site, name)
    mixture = _mixture(site, name, optimization)
    decoder, kept = _begin(site, name, member, mixture)
    steps = max(1, round(optimization.tokens / mixture.batch_tokens))
    schedule = Schedule(
        peak=optimization.learning_rate, steps=steps, warmup=optimization.warmup, decay=optimization.decay
    )
    optimizers = Optimizers(decoder, schedule, optimization.weight_decay, optimization.clip_norm)
    held_out = _held_out(site, "test")
    run = Run(
        title=name,
        steps=steps,
        batch_at=mixture.batch,
        batch_tokens=mixture.batch_tokens,
        held_out=held_out,
        look_every=max(1, steps // _LOOKS),
        save_seconds=_SAVE_SECONDS,
    )
    states = States(site.store.work(name, key), site.log.say)
    with site.log.bar(f"{name}: training", steps) as bar:

        def watch(step: int, loss: float, speed: float) -> None:
            bar.at(step, f"loss {loss:.3f} · {speed:,.0f} tokens/s")

        reached = fit(decoder, _objective(site, member, kept), optimizers, run, states, watch)
    decoder.eval()
    _keep_member(site, name, key, decoder, reached, mixture, config.training_flops_per_token())


def examine_member(site: Site, name: str) -> None:
    """A member's answers to every held-out example."""
    recipe, tokenizer = site.recipe, Tokenizer.load(site.store.folder("data"))
    decoder = load(site.store.folder(name)).eval()
    with site.store.fresh(f"answers/{name}", answers_key(site, name), {"stage": "answers"}) as folder:
        lines = []
        for task, data in tasks_of(recipe.data).items():
            records = list(test_records(task, data, recipe.seed, recipe.measure.max_examples))
            asked = list(questions(_selectable(records, recipe.seed)))
            with site.log.bar(f"{name}: {task} test", len(asked)) as bar:
                answers = examine(
                    decoder,
                    tokenizer,
                    asked,
                    batch=recipe.measure.batch,
                    max_new_tokens=recipe.measure.max_new_tokens,
                    watch=bar.at,
                )
            lines += [json.dumps(asdict(answer), ensure_ascii=False) for answer in answers]
        write_text(folder / "answers.jsonl", "\n".join(lines) + "\n")


def read_answers(site: Site, name: str) -> list[Answer]:
    """The answers that `examine_member` kept."""
    lines = (site.store.folder(f"answers/{name}") / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return [Answer(**fields | {"references": tuple(fields["references"])}) for fields in found]


def _begin(site: Site, name: str, member: Member, mixture: Mixture) -> tuple[Decoder, Kept | None]:
    """A decoder to be trained, and what it kept of its parent."""
    config = site.planned[name].config
    if member.parent is None:
        return initialized(config, torch_generator(site.recipe.seed, "weights", name)), None
    parent = load(site.store.folder(member.parent)).eval()
    samples = member.distill.importance_samples if member.distill else 1024
    scores = importance(parent, (mixture.batch(step) for step in range(max(1, samples // mixture.batch_rows))))
    kept = choose(scores, config)
    return cut(parent, config, kept), kept


def _objective(site: Site, member: Member, kept: Kept | None) -> Objective:
    if member.distill is None or kept is None:
        return NextToken()
    teacher = load(site.store.folder(member.distill.teacher or member.parent or "")).eval()
    return Distill(
        teacher=Teacher(decoder=teacher, kept_hidden=kept.hidden),
        truth_share=member.distill.truth_share,
        temperature=member.distill.temperature,
        hidden_weight=member.distill.hidden_weight,
    )


def _mixture(site: Site, name: str, optimization: Optimization) -> Mixture:
    data, length = site.recipe.data, site.recipe.data.sequence_length
    folder = site.store.folder("data") / "train"
    shares = []
    for task, sources in tasks_of(data).items():
        rows = PackedCorpus(Corpus(folder / task), length, data.prompt_weight)
        shares.append(Share(name=task, rows=rows, share=sources.share))
    return Mixture(shares, max(1, optimization.batch_tokens // length), site.recipe.seed)


def _held_out(site: Site, split: str) -> Callable[[Decoder], dict[str, float]]:
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


def _keep_member(
    site: Site, name: str, key: str, decoder: Decoder, reached: Reached, mixture: Mixture, flops: int
) -> None:
    member, seen = site.recipe.member[name], _held_out(site, "train")(decoder)
    held_out = reached.curve[-1].held_out
    facts = {
        "stage": "member",
        "minikin": __version__,
        "recipe": site.recipe.name,
        "parent": member.parent,
        "teacher": (member.distill.teacher or member.parent) if member.distill else None,
        "data": data_key(site),
        "seed": site.recipe.seed,
        "steps": reached.steps,
        "tokens": reached.steps * mixture.batch_tokens,
        "training_flops": site.planned[name].training_flops,
        "seconds": reached.seconds,
        "epochs": mixture.epochs(reached.steps),
        "gap": {task: held_out[task] - seen[task] for task in held_out},
        "curve": [asdict(point) for point in reached.curve],
    }
    with site.store.fresh(name, key, facts) as folder:
        save(decoder, folder)
        Tokenizer.load(site.store.folder("data")).save(folder, decoder.config.max_position_embeddings, chat_template())
        write_text(folder / "README.md", _card(site, name, facts))


def _card(site: Site, name: str, facts: dict[str, object]) -> str:
    config = site.planned[name].config
    origin = (
        f"Cut from `{facts['parent']}` and distilled from `{facts['teacher']}`."
        if facts["parent"]
        else ("Trained from random weights.")
    )
    return (
        "---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags: [minikin]\n---\n\n"
        f"# {site.recipe.name} {name}\n\n{origin} {config.parameters:,} parameters, of which {config.multiplied:,} "
        f"are multiplied for a token and {config.looked_up:,} looked up. Trained on {facts['tokens']:,} tokens.\n\n"
        "Built with minikin; what it keeps and costs is in the family's report.\n"
    )


def _above(member: Member) -> list[str]:
    teacher = member.distill.teacher if member.distill else None
    return sorted({other for other in (member.parent, teacher) if other})


def _selectable(records: list[Record], seed: int) -> Iterator[Record]:
    dialogues = [record for record in records if isinstance(record, Dialogue)]
    yield from selections(dialogues, seed)
    yield from (record for record in records if not isinstance(record, (Dialogue, Text)))


def _write(folder: Path, records: Iterator[Record], tokenizer: Tokenizer):  # noqa: ANN202
    folder.mkdir(parents=True)
    return write_corpus(folder, (encode_example(tokenizer, record) for record in records), tokenizer.vocab_size)


def _texts(records: Iterator[Record]) -> Iterator[str]:
    return (message.content for record in records for message in messages(record))


def _counted(records: Iterator[Record], seen: Counter[str]) -> Iterator[Record]:
    for record in records:
        for message in messages(record):
            seen.update(words(message.content))
        yield record
