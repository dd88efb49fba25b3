"""The stage in which members answer the test."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice

from minikin.base.files import write_text
from minikin.base.seeds import torch_generator
from minikin.family.exams import Exam, examples_of
from minikin.family.naming import source_names
from minikin.family.recipe import Kind, Recipe
from minikin.family.site import Site, answers_key, quantized_name
from minikin.measure.examine import examine
from minikin.measure.records import Answer
from minikin.measure.select import Select, by_likelihood, by_likeness_and_gain
from minikin.measure.tasks import Question, questions, selections, with_complexity
from minikin.model.checkpoint import load, placed
from minikin.text.records import Dialogue, Record, Selection
from minikin.text.tokenizer import Tokenizer


def answers_name(name: str, kind: Kind | None) -> str:
    """Where a member's answers lie, or those in a kind of few bits."""
    return f"answers/{name}.{kind}" if kind else f"answers/{name}"


def examine_member(site: Site, name: str, kind: Kind | None = None) -> None:
    """A member's answers to every held-out example, or those that it gives in a kind of few bits."""
    recipe, tokenizer = site.recipe, Tokenizer.load(site.store.folder("data"))
    artifact, title = (quantized_name(name, kind), f"{name} in {kind}") if kind else (name, name)
    decoder = placed(load(site.store.folder(artifact)).eval(), site.device)
    with site.results.fresh(answers_name(name, kind), answers_key(site, name, kind), {"stage": "answers"}) as folder:
        lines = []
        for exam, asked in test_questions(recipe, site.exams):
            with site.log.bar(f"{title}: {exam.title} test", len(asked)) as bar:
                answers = examine(
                    decoder,
                    tokenizer,
                    asked,
                    decoding=recipe.measure.decoding_of(exam.task),
                    generator=torch_generator(recipe.seed, "answers", exam.name),
                    batch=recipe.measure.batch,
                    select=selector(recipe),
                    watch=bar.at,
                )
            lines += [json.dumps(asdict(answer), ensure_ascii=False) for answer in answers]
        write_text(folder / "answers.jsonl", "\n".join(lines) + "\n")


def read_answers(site: Site, name: str, kind: Kind | None = None) -> list[Answer]:
    """The answers that `examine_member` kept."""
    # a line ends with "\n" and nothing else: an answer may hold any other sign that Unicode ends lines with
    lines = (site.results.folder(answers_name(name, kind)) / "answers.jsonl").read_text(encoding="utf-8").split("\n")
    found = [json.loads(line) for line in lines if line]
    return [Answer(**fields | {"references": tuple(fields["references"])}) for fields in found]


def test_questions(recipe: Recipe, exams: Iterable[Exam]) -> Iterator[tuple[Exam, list[Question]]]:
    """What is asked of every member in each exam that asks something; examples are numbered through a task.

    Where a task has several sources, each is a group of its own. How hard questions are is told alike through a task.
    """
    found = list(_numbered(recipe, tuple(exams)))
    told = iter(with_complexity([question for _, asked in found for question in asked]))
    for exam, asked in found:
        yield exam, list(islice(told, len(asked)))


def _numbered(recipe: Recipe, exams: Sequence[Exam]) -> Iterator[tuple[Exam, list[Question]]]:
    asked: Counter[str] = Counter()
    for exam in exams:
        names = source_names([source.source for other in exams if other.task == exam.task for source in other.sources])
        told = [(records, names[source]) for source, records in examples_of(recipe, exam)]
        examples, origins = [records for records, _ in told], [name if len(names) > 1 else "" for _, name in told]
        if found := questions_of(examples, origins, recipe.seed, asked[exam.task]):
            asked[exam.task] = found[-1].example + 1
            yield exam, found


def selector(recipe: Recipe) -> Select:
    """How members choose among replies: as they learned it."""
    return by_likeness_and_gain if recipe.data.replies_told_apart else by_likelihood


def questions_of(examples: Sequence[list[Record]], origins: Sequence[str], seed: int, first: int = 0) -> list[Question]:
    """Questions of examples, numbered from `first`, and where each is from.

    Whole dialogues become selections among the last turns of those from the same place.
    """
    told = list(zip(examples, origins, strict=True))
    dialogues = [(record, origin) for records, origin in told for record in records if isinstance(record, Dialogue)]
    if dialogues:
        chosen = _selections_of_each(dialogues, seed)
        others = [(records, origin) for records, origin in told if not isinstance(records[0], Dialogue)]
        told = [*others, *(([made], origin) for made, (_, origin) in zip(chosen, dialogues, strict=True))]
    numbered = enumerate(told, first)
    return [asked for number, (each, origin) in numbered for asked in questions(each, number, origin)]


def _selections_of_each(dialogues: Sequence[tuple[Dialogue, str]], seed: int) -> Iterator[Selection]:
    """Selections in the order of the dialogues; a reply of another source would give itself away by its manner."""
    origins = dict.fromkeys(origin for _, origin in dialogues)
    made = {
        origin: selections([dialogue for dialogue, theirs in dialogues if theirs == origin], seed, origin)
        for origin in origins
    }
    return (next(made[origin]) for _, origin in dialogues)
