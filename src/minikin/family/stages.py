"""The stages of a family, one short function each. A stage reads artifacts and writes one."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import chain, islice
from pathlib import Path

from minikin.base.device import products_dtype
from minikin.base.files import write_json, write_text
from minikin.family.card import card, provenance
from minikin.family.fitting import beginning, held_out, mixture, objective
from minikin.family.site import Site, answers_key, data_key, member_key, teacher_of, written_key
from minikin.family.supply import sources_of, test_records, training_records, training_sources
from minikin.measure.examine import examine, fitted
from minikin.measure.limits import words
from minikin.measure.records import Answer
from minikin.measure.tasks import questions, selections
from minikin.model.checkpoint import load, save
from minikin.model.decoder import Decoder
from minikin.model.generate import generate
from minikin.text.batches import Mixture
from minikin.text.chat import chat_template, encode_example, encode_prompt, messages
from minikin.text.corpus import CorpusSize, write_corpus
from minikin.text.records import Dialogue, Record, Summarization, Text, Translation
from minikin.text.tokenizer import Tokenizer
from minikin.train.loop import Run, fit
from minikin.train.optimizer import Optimizers, Schedule
from minikin.train.state import Reached, States

_SAVE_SECONDS = 60.0
_LOOKS = 10


def prepare_data(site: Site) -> None:
    """Tokenizer and token shards of every task, held-out documents, and how often each word was seen."""
    recipe, tasks = site.recipe, sources_of(site.recipe.data)
    with site.store.fresh("data", data_key(site), {"stage": "data"}) as folder:
        texts = chain.from_iterable(
            islice(_texts(training_records(recipe, task)), 2 * recipe.data.tokenizer_examples)
            for task, data in tasks.items()
        )
        tokenizer = Tokenizer.train(texts, recipe.tokenizer.vocab_size)
        tokenizer.save(folder, next(iter(site.planned.values())).config.max_position_embeddings, chat_template())
        seen: Counter[str] = Counter()
        for task, data in tasks.items():
            for number, records in enumerate(training_sources(recipe, task)):
                size = _write(folder / "train" / task / str(number), _counted(records, seen), tokenizer)
                source = data.train[number].source
                site.log.say(f"  {task}, {source}: {size.documents:,} documents, {size.tokens:,} tokens")
            if data.test or data.select:
                _write(folder / "test" / task / "0", test_records(recipe, task), tokenizer)
        write_json(folder / "words.json", dict(seen.most_common()))


def write_answers(site: Site, name: str) -> None:
    """What a member's teacher answers to the first training prompts (Kim & Rush 2016, sequence-level)."""
    recipe, member = site.recipe, site.recipe.member[name]
    assert member.distill is not None
    teacher = load(site.store.folder(teacher_of(member))).eval()
    tokenizer = Tokenizer.load(site.store.folder("data"))
    with site.store.fresh(f"written/{name}", written_key(site, name), {"stage": "written"}) as folder:
        for task in sources_of(recipe.data):
            if task == "text":
                continue
            records = list(islice(training_records(recipe, task), member.distill.teacher_answers))
            with site.log.bar(f"{name}: {task} answers of {teacher_of(member)}", len(records)) as bar:
                answered: list[Record] = []
                for start in range(0, len(records), recipe.measure.batch):
                    asked = records[start : start + recipe.measure.batch]
                    answered += _answered(teacher, tokenizer, asked, recipe.measure.max_new_tokens)
                    bar.at(len(answered))
            _write(folder / task, iter(answered), tokenizer)


def train_member(site: Site, name: str) -> None:
    """Fit one member: from random weights, or cut from its parent; to the data, or to a teacher."""
    member = site.recipe.member[name]
    optimization = member.distill or member.train
    assert optimization is not None
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
        held_out=held_out(site, "test"),
        look_every=max(1, steps // _LOOKS),
        save_seconds=_SAVE_SECONDS,
        dtype=dtype,
    )
    states = States(site.store.work(name, key), site.log.say)
    with site.log.bar(f"{name}: training", steps) as bar:

        def watch(step: int, loss: float, speed: float) -> None:
            bar.at(step, f"loss {loss:.3f} · {speed:,.0f} tokens/s")

        reached = fit(decoder, objective(site, member, kept), optimizers, run, states, watch)
    decoder.eval()
    _keep(site, name, decoder, reached, rows)


def examine_member(site: Site, name: str) -> None:
    """A member's answers to every held-out example."""
    recipe, tokenizer = site.recipe, Tokenizer.load(site.store.folder("data"))
    decoder = load(site.store.folder(name)).eval()
    with site.store.fresh(f"answers/{name}", answers_key(site, name), {"stage": "answers"}) as folder:
        lines = []
        for task in sources_of(recipe.data):
            records = list(test_records(recipe, task))
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


def _keep(site: Site, name: str, decoder: Decoder, reached: Reached, rows: Mixture) -> None:
    facts = provenance(site, name, reached, rows, held_out(site, "train")(decoder))
    with site.store.fresh(name, member_key(site, name), facts) as folder:
        save(decoder, folder)
        Tokenizer.load(site.store.folder("data")).save(folder, decoder.config.max_position_embeddings, chat_template())
        write_text(folder / "README.md", card(site, name, facts))


def _answered(teacher: Decoder, tokenizer: Tokenizer, records: list[Record], max_new_tokens: int) -> list[Record]:
    prompts = [fitted(encode_prompt(tokenizer, messages(record)[:-1]), teacher, max_new_tokens) for record in records]
    replies = generate(teacher, prompts, max_new_tokens)
    return [_with_answer(record, tokenizer.decode(reply)) for record, reply in zip(records, replies, strict=True)]


def _with_answer(record: Record, answer: str) -> Record:
    match record:
        case Translation():
            return replace(record, target=answer)
        case Summarization():
            return replace(record, summary=answer)
        case Dialogue(turns=turns):
            return replace(record, turns=(*turns[:-1], replace(turns[-1], text=answer)))
        case _:
            return record


def _selectable(records: list[Record], seed: int) -> Iterator[Record]:
    dialogues = [record for record in records if isinstance(record, Dialogue)]
    yield from selections(dialogues, seed)
    yield from (record for record in records if not isinstance(record, (Dialogue, Text)))


def _write(folder: Path, records: Iterator[Record], tokenizer: Tokenizer) -> CorpusSize:
    folder.mkdir(parents=True)
    return write_corpus(folder, (encode_example(tokenizer, record) for record in records), tokenizer.vocab_size)


def _texts(records: Iterator[Record]) -> Iterator[str]:
    return (message.content for record in records for message in messages(record))


def _counted(records: Iterator[Record], seen: Counter[str]) -> Iterator[Record]:
    for record in records:
        for message in messages(record):
            seen.update(words(message.content))
        yield record
