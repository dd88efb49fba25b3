"""The stages that make members, one short function each. A stage reads artifacts and writes one."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from minikin.base.device import products_dtype
from minikin.base.files import write_json, write_text
from minikin.family.card import CARD, adopted_provenance, card, provenance
from minikin.family.fitting import WATCHED_ROWS, adopted, beginning, held_out, losses, mixture, objective
from minikin.family.origin import origin_folder
from minikin.family.recipe import Optimization
from minikin.family.site import Site, data_key, held_out_key, member_key
from minikin.family.supply import held_out_records, training_sources
from minikin.measure.limits import words
from minikin.model.checkpoint import save
from minikin.model.decoder import Decoder
from minikin.text.chat import chat_template, messages
from minikin.text.corpus import write_records
from minikin.text.records import Record
from minikin.text.tokenizer import Tokenizer
from minikin.train.loop import Run, fit
from minikin.train.optimizer import Optimizers, Schedule
from minikin.train.state import States

_LOOKS = 10


def prepare_data(site: Site) -> None:
    """Tokenizer and token shards of every source, and how often each word was seen."""
    recipe, tasks = site.recipe, site.recipe.data.tasks
    with site.store.fresh("data", data_key(site), {"stage": "data"}) as folder:
        tokenizer = _tokenizer(site)
        tokenizer.save(folder, next(iter(site.planned.values())).config.max_position_embeddings, chat_template())
        seen: Counter[str] = Counter()
        for task, data in tasks.items():
            for number, records in enumerate(training_sources(recipe, task)):
                size = write_records(folder / "train" / task / str(number), _counted(records, seen), tokenizer)
                source = data.train[number].source
                site.log.say(f"  {task}, {source}: {size.documents:,} documents, {size.tokens:,} tokens")
        write_json(folder / "words.json", dict(seen.most_common()))


def prepare_held_out(site: Site) -> None:
    """Token shards of the examples on which the loss is watched while training."""
    tokenizer = Tokenizer.load(site.store.folder("data"))
    with site.store.fresh("held_out", held_out_key(site), {"stage": "held out"}) as folder:
        for task, data in site.recipe.data.tasks.items():
            if data.test or data.select:
                write_records(folder / task, held_out_records(site.recipe, task), tokenizer)


def make_member(site: Site, name: str) -> None:
    """One member: trained, or taken over as it is."""
    member = site.recipe.member[name]
    optimization = member.distill or member.train
    if optimization is not None:
        _train(site, name, optimization)
    elif member.origin is not None:
        _keep(site, name, adopted(site, member.origin, name), adopted_provenance(site, name))


def _train(site: Site, name: str, optimization: Optimization) -> None:
    """Fit a member: from random or given weights, or cut from its parent; to the data, or to a teacher."""
    member = site.recipe.member[name]
    key = member_key(site, name)
    rows = mixture(site, name, optimization)
    decoder, kept = beginning(site, name, member, rows)
    steps = max(1, round(optimization.tokens / rows.batch_tokens))
    schedule = Schedule(
        peak=optimization.learning_rate, steps=steps, warmup=optimization.warmup, decay=optimization.decay
    )
    dtype = products_dtype(site.recipe.precision)
    optimizers = Optimizers(decoder, schedule, optimization.weight_decay, optimization.clip_norm, dtype)
    run = Run(
        title=name,
        steps=steps,
        batch_at=rows.batch,
        batch_tokens=rows.batch_tokens,
        held_out=held_out(site),
        look_every=max(1, steps // _LOOKS),
        save_seconds=site.recipe.checkpoint_seconds,
        dtype=dtype,
    )
    states = States(site.store.work(name, key), site.log.say)
    with site.log.bar(f"{name}: training", steps) as bar:

        def watch(step: int, loss: float, speed: float) -> None:
            bar.at(step, f"loss {loss:.3f} · {speed:,.0f} tokens/s")

        reached = fit(decoder, objective(site, member, kept), optimizers, run, states, watch)
    decoder.eval()
    seen = losses(decoder, rows.recent(reached.steps, WATCHED_ROWS))
    _keep(site, name, decoder, provenance(site, name, reached, rows, seen))


def _keep(site: Site, name: str, decoder: Decoder, facts: dict[str, Any]) -> None:
    with site.store.fresh(name, member_key(site, name), facts) as folder:
        save(decoder, folder)
        Tokenizer.load(site.store.folder("data")).save(folder, decoder.config.max_position_embeddings, chat_template())
        write_text(folder / CARD, card(site, name, facts, None))


def _tokenizer(site: Site) -> Tokenizer:
    origin = site.recipe.origin
    if origin is not None:
        return Tokenizer.load(origin_folder(origin))
    return Tokenizer.train(_tokenizer_texts(site), site.recipe.vocabulary.vocab_size)


def _tokenizer_texts(site: Site) -> Iterator[str]:
    """The first examples of each task, as many of each of its sources."""
    for task in site.recipe.data.tasks:
        sources = training_sources(site.recipe, task)
        each = max(1, site.recipe.data.tokenizer_examples // len(sources))
        for record in chain.from_iterable(islice(records, each) for records in sources):
            yield from (message.content for message in messages(record))


def _counted(records: Iterator[Record], seen: Counter[str]) -> Iterator[Record]:
    for record in records:
        for message in messages(record):
            seen.update(words(message.content))
        yield record
