"""The stages that make members, one short function each. A stage reads artifacts and writes one."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, repeat, zip_longest
from pathlib import Path
from typing import Any

import numpy

from minikin.base.files import write_json, write_text
from minikin.base.seeds import seed_for
from minikin.family.card import CARD, card
from minikin.family.fitting import adopted, beginning, judged_by, mixture, objective, ready
from minikin.family.learning import OnPolicy, Optimization
from minikin.family.lineage import untrained_provenance
from minikin.family.origin import origin_folder
from minikin.family.phases import ON_POLICY, corrector_of
from minikin.family.site import Site, data_key, distilled_key, distilled_name, member_key
from minikin.family.supply import training_sources, watched_sources
from minikin.family.training import Training, steps_of, trained
from minikin.measure.limits import words
from minikin.model.checkpoint import in_memory, load, save
from minikin.model.decoder import Decoder
from minikin.text.chat import chat_template, messages
from minikin.text.corpus import Corpus, write_records
from minikin.text.mapping import Task
from minikin.text.records import Record
from minikin.text.tokenizer import Tokenizer
from minikin.train.own_answers import OwnAnswers

_OFTEN = 4  # times that a tokenizer may see a text: as often as is almost as good as new


def prepare_data(site: Site) -> None:
    """Tokenizer, token shards of every source and of what is held back of them, and how often each word was seen."""
    recipe, tasks = site.recipe, site.recipe.data.tasks
    with site.store.fresh("data", data_key(site), {"stage": "data"}) as folder:
        tokenizer = _tokenizer(site)
        tokenizer.save(folder, next(iter(site.planned.values())).config.max_position_embeddings, chat_template())
        seen: Counter[str] = Counter()
        for task, data in tasks.items():
            for number, records in enumerate(training_sources(recipe, task)):
                written = folder / "train" / task / str(number)
                size = write_records(written, _counted(records, seen), tokenizer)
                told = f"  {task}, {data.train[number].source}: {size.documents:,} documents, {size.tokens:,} tokens"
                site.log.say(told + _cut(written, data.block_length or recipe.data.sequence_length))
            for number, watched in enumerate(watched_sources(recipe, task)):
                if held_back := [record for records in watched for record in records]:
                    write_records(folder / "held_out" / task / str(number), held_back, tokenizer)
        write_json(folder / "words.json", dict(seen.most_common()))


def distill_first(site: Site, name: str) -> None:
    """A member before its last phase, in which it learns from its own answers."""
    _keep(site, name, distilled_name(name), distilled_key(site, name), *_begun(site, name, distilled_name(name)))


def make_member(site: Site, name: str) -> None:
    """One member: trained, or taken over as it is, or only cut."""
    on_policy = site.recipe.member[name].on_policy
    made = _begun(site, name, name) if on_policy is None else _corrected(site, name, on_policy)
    _keep(site, name, name, member_key(site, name), *made)


def _begun(site: Site, name: str, artifact: str) -> tuple[Decoder, dict[str, Any]]:
    """A member but for its last phase, if it has one."""
    member = site.recipe.member[name]
    if optimization := member.distill or member.train:
        return _fitted(site, name, optimization, artifact)
    if member.origin is not None:
        return adopted(site, member.origin, name), untrained_provenance(site, name)
    decoder, _ = beginning(site, name, member, mixture(site, name, Optimization(tokens=1)))
    return decoder, untrained_provenance(site, name)


def _fitted(site: Site, name: str, optimization: Optimization, artifact: str) -> tuple[Decoder, dict[str, Any]]:
    """Fit a member: from random or given weights, or cut from its parent; to the data, or to a teacher."""
    member = site.recipe.member[name]
    rows = mixture(site, name, optimization)
    decoder, kept = beginning(site, name, member, rows)
    training = Training(
        name=name,
        title=name,
        artifact=artifact,
        key=distilled_key(site, name),
        phase=site.planned[name].phases["distill" if member.distill else "train"],
        decoder=decoder,
        objective=objective(site, member, kept, rows),
        optimization=optimization,
        rows=rows,
        steps=steps_of(optimization, rows),
        batch_at=rows.batch,
    )
    return decoder, trained(site, training)


def _corrected(site: Site, name: str, on_policy: OnPolicy) -> tuple[Decoder, dict[str, Any]]:
    """Let a distilled member answer by itself, and its teacher say what it thinks of every word."""
    member, key = site.recipe.member[name], member_key(site, name)
    rows = mixture(site, name, on_policy)
    decoder = ready(site, in_memory(load(site.store.folder(distilled_name(name)))), rows)
    own = OwnAnswers(
        student=decoder,
        rows=rows,
        folder=site.store.work(name, key),
        share=on_policy.own_share,
        max_new_tokens=site.recipe.measure.max_new_tokens,
        seed=seed_for(site.recipe.seed, name),
        end=Tokenizer.load(site.store.folder("data")).turn_end_id,
    )
    training = Training(
        name=name,
        title=f"{name} by itself",
        artifact=name,
        key=key,
        phase=site.planned[name].phases[ON_POLICY],
        decoder=decoder,
        objective=judged_by(site, corrector_of(member), rows),
        optimization=on_policy,
        rows=rows,
        steps=steps_of(on_policy, rows),
        batch_at=own.batch,
        data_share=1 - on_policy.own_share,
    )
    facts = trained(site, training)
    before = site.store.provenance(distilled_name(name))
    return decoder, facts | {"before": before, "corrector": corrector_of(member)}


def _keep(site: Site, name: str, artifact: str, key: str, decoder: Decoder, facts: dict[str, Any]) -> None:
    with site.store.fresh(artifact, key, facts) as folder:
        save(decoder, folder)
        Tokenizer.load(site.store.folder("data")).save(folder, decoder.config.max_position_embeddings, chat_template())
        write_text(folder / CARD, card(site, name, facts, None))


def _tokenizer(site: Site) -> Tokenizer:
    origin = site.recipe.origin
    if origin is not None:
        return Tokenizer.load(origin_folder(origin))
    return Tokenizer.train(_tokenizer_texts(site), site.recipe.vocabulary.vocab_size)


def _tokenizer_texts(site: Site) -> Iterator[str]:
    """Of each task the first texts, as many characters as its share of training; what is short of that comes again."""
    data = site.recipe.data
    shares: dict[Task, float] = {task: sources.share for task, sources in data.tasks.items()}
    most = data.tokenizer_characters / sum(shares.values())  # of a share of 1
    found = {task: list(_first(_texts(site, task), share * most)) for task, share in shares.items()}
    enough = min(most, max(sum(map(len, found[task])) / share for task, share in shares.items()))
    for task, share in shares.items():
        yield from _first(chain.from_iterable(repeat(found[task], _OFTEN)), share * enough)


def _texts(site: Site, task: Task) -> Iterator[str]:
    """All that is said in a task's training records, its sources in turn."""
    in_turn = chain.from_iterable(zip_longest(*training_sources(site.recipe, task)))
    return (message.content for record in in_turn if record is not None for message in messages(record))


def _first(texts: Iterable[str], characters: float) -> Iterator[str]:
    for text in texts:
        if characters <= 0:
            return
        characters -= len(text)
        yield text


def _cut(folder: Path, room: int) -> str:
    """How many documents do not fit into a row, in words."""
    longer = int((numpy.diff(Corpus(folder).starts) > room).sum())
    return f"; {longer:,} of them are longer than the {room} that a row has room for, and are cut" if longer else ""


def _counted(records: Iterator[Record], seen: Counter[str]) -> Iterator[Record]:
    for record in records:
        for message in messages(record):
            seen.update(words(message.content))
        yield record
