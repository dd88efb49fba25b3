"""The stage in which a teacher writes answers to training prompts, for its student to learn from.

Records are read, answered and written some thousand at a time, so their number costs no memory; what is
answered is kept, so that a build that was stopped goes on there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from minikin.base.files import read_json, write_json
from minikin.base.log import Bar
from minikin.base.seeds import torch_generator
from minikin.family.phases import teacher_of
from minikin.family.site import Site, written_key, written_name
from minikin.family.supply import training_records
from minikin.measure.examine import fitted
from minikin.model.checkpoint import load, placed
from minikin.model.decoder import Decoder
from minikin.model.decoding import decode_batches
from minikin.text.chat import Example, encode_example, encode_prompt, messages, unfinished
from minikin.text.corpus import Corpus, write_corpus
from minikin.text.mapping import Task
from minikin.text.records import Dialogue, Record, Summarization, Translation
from minikin.text.tokenizer import Tokenizer

_CHUNK = 4096  # records


@dataclass(frozen=True, kw_only=True)
class _Writer:
    """Who writes for whom."""

    site: Site
    name: str
    teacher: str
    decoder: Decoder
    tokenizer: Tokenizer


def write_answers(site: Site, name: str) -> None:
    """What a member's teacher answers to the first training prompts (Kim & Rush 2016, sequence-level)."""
    member, artifact = site.recipe.member[name], written_name(site, name)
    assert member.distill is not None
    teacher, asked = teacher_of(member), member.distill.teacher_answers
    writer = _Writer(
        site=site,
        name=name,
        teacher=teacher,
        decoder=placed(load(site.store.folder(teacher)).eval(), site.device),
        tokenizer=Tokenizer.load(site.store.folder("data")),
    )
    with site.store.fresh(artifact, written_key(site, name), {"stage": "written"}) as folder:
        for task in site.recipe.data.tasks:
            if asked.of(task):
                (folder / task).mkdir()
                write_corpus(folder / task, _answered(writer, task), writer.tokenizer.vocab_size)


def _answered(writer: _Writer, task: Task) -> Iterator[Example]:
    """What the teacher's answers make of records, in the order of the training data."""
    site, name = writer.site, writer.name
    work = site.store.work(written_name(site, name), written_key(site, name)) / task
    asked = _asked(site, name, task)
    with site.log.bar(f"{name}: {task} answers of {writer.teacher}", asked) as bar:
        records = islice(training_records(site.recipe, task), asked)
        for number in range(-(-asked // _CHUNK)):
            chunk = list(islice(records, _CHUNK))
            kept = work / f"{number}.json"
            if not kept.is_file():
                write_json(kept, _replies(writer, task, number, chunk, bar))
            for record, (answer, ended) in zip(chunk, read_json(kept), strict=True):
                example = encode_example(writer.tokenizer, _with_answer(record, answer))
                # an answer that came to no end by itself is not taught to have one
                yield example if ended else unfinished(writer.tokenizer, example)
            bar.at(number * _CHUNK + len(chunk))


def _asked(site: Site, name: str, task: Task) -> int:
    """How many records are answered: as many as the recipe says, or all there are."""
    distill = site.recipe.member[name].distill
    assert distill is not None
    folder = site.store.folder("data") / "train" / task
    sources = site.recipe.data.tasks[task].train
    there = sum(Corpus(folder / str(number)).size.documents for number in range(len(sources)))
    return min(there, distill.teacher_answers.of(task))


def _replies(writer: _Writer, task: Task, number: int, records: Sequence[Record], bar: Bar) -> list[tuple[str, bool]]:
    """The teacher's answers to a chunk, and whether each came to an end.

    Chance depends on the chunk alone, so none that is kept need be made again.
    """
    recipe, decoder, tokenizer = writer.site.recipe, writer.decoder, writer.tokenizer
    decoding = recipe.measure.decoding_of(task)
    whole = [encode_prompt(tokenizer, messages(record)[:-1]) for record in records]
    prompts = [fitted(prompt, decoder, decoding.max_new_tokens) for prompt in whole]
    if cut := sum(len(prompt) < len(before) for prompt, before in zip(prompts, whole, strict=True)):
        writer.site.log.say(f"  {task}: {cut:,} prompts of {len(records):,} cut to fit")
    replies = decode_batches(
        decoder,
        prompts,
        decoding,
        torch_generator(recipe.seed, "written", writer.teacher, task, number),
        batch=recipe.measure.batch,
        watch=lambda done: bar.at(number * _CHUNK + done),
    )
    return [(tokenizer.decode(reply), len(reply) < decoding.max_new_tokens) for reply in replies]


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
