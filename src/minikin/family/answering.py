"""The stages in which models answer: a teacher writes training examples anew, members answer the test."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import islice

from minikin.base.files import write_text
from minikin.family.exams import Exam, examples_of
from minikin.family.recipe import Recipe
from minikin.family.site import Site, answers_key, teacher_of, written_key
from minikin.family.supply import training_records
from minikin.measure.examine import examine, fitted
from minikin.measure.records import Answer
from minikin.measure.select import Select, by_likelihood, by_likeness
from minikin.measure.tasks import Question, questions, selections
from minikin.model.checkpoint import load
from minikin.model.decoder import Decoder
from minikin.model.generate import generate
from minikin.ship.rounding import as_in_file
from minikin.text.chat import encode_prompt, messages
from minikin.text.corpus import write_records
from minikin.text.records import Dialogue, Record, Summarization, Translation
from minikin.text.tokenizer import Tokenizer


def write_answers(site: Site, name: str) -> None:
    """What a member's teacher answers to the first training prompts (Kim & Rush 2016, sequence-level)."""
    recipe, member = site.recipe, site.recipe.member[name]
    assert member.distill is not None
    teacher = load(site.store.folder(teacher_of(member))).eval()
    tokenizer = Tokenizer.load(site.store.folder("data"))
    with site.store.fresh(f"written/{name}", written_key(site, name), {"stage": "written"}) as folder:
        for task in recipe.data.tasks:
            if task == "text":
                continue
            records = list(islice(training_records(recipe, task), member.distill.teacher_answers))
            with site.log.bar(f"{name}: {task} answers of {teacher_of(member)}", len(records)) as bar:
                answered: list[Record] = []
                for start in range(0, len(records), recipe.measure.batch):
                    asked = records[start : start + recipe.measure.batch]
                    answered += _answered(teacher, tokenizer, asked, recipe.measure.max_new_tokens)
                    bar.at(len(answered))
            write_records(folder / task, iter(answered), tokenizer)


def answers_name(name: str, kind: str | None) -> str:
    """Where a member's answers lie, or those of its weights rounded as in a file of a kind."""
    return f"answers/{name}.{kind}" if kind else f"answers/{name}"


def examine_member(site: Site, name: str, kind: str | None = None) -> None:
    """A member's answers to every held-out example; with a kind, what is left of its weights in such a file answers."""
    recipe, tokenizer = site.recipe, Tokenizer.load(site.store.folder("data"))
    decoder, facts, title = load(site.store.folder(name)).eval(), {"stage": "answers"}, name
    if kind is not None:
        decoder, size = as_in_file(decoder, kind)
        facts, title = facts | {"bytes": size}, f"{name} in {kind}"
    with site.results.fresh(answers_name(name, kind), answers_key(site, name, kind), facts) as folder:
        lines = []
        for exam, asked in test_questions(recipe, site.exams):
            with site.log.bar(f"{title}: {exam.title} test", len(asked)) as bar:
                answers = examine(
                    decoder,
                    tokenizer,
                    asked,
                    batch=recipe.measure.batch,
                    max_new_tokens=recipe.measure.max_new_tokens,
                    select=selector(recipe),
                    watch=bar.at,
                )
            lines += [json.dumps(asdict(answer), ensure_ascii=False) for answer in answers]
        write_text(folder / "answers.jsonl", "\n".join(lines) + "\n")


def read_answers(site: Site, name: str, kind: str | None = None) -> list[Answer]:
    """The answers that `examine_member` kept."""
    # a line ends with "\n" and nothing else: an answer may hold any other sign that Unicode ends lines with
    lines = (site.results.folder(answers_name(name, kind)) / "answers.jsonl").read_text(encoding="utf-8").split("\n")
    found = [json.loads(line) for line in lines if line]
    return [Answer(**fields | {"references": tuple(fields["references"])}) for fields in found]


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


def test_questions(recipe: Recipe, exams: Iterable[Exam]) -> Iterator[tuple[Exam, list[Question]]]:
    """What is asked of every member in each exam that asks something; examples are numbered through a task."""
    asked: Counter[str] = Counter()
    for exam in exams:
        if found := questions_of(examples_of(recipe, exam), recipe.seed, asked[exam.task]):
            asked[exam.task] = found[-1].example + 1
            yield exam, found


def selector(recipe: Recipe) -> Select:
    """How members choose among replies: as they learned it."""
    return by_likeness if recipe.data.replies_told_apart else by_likelihood


def questions_of(examples: Sequence[list[Record]], seed: int, first: int = 0) -> list[Question]:
    """Questions of examples, numbered from `first`; whole dialogues become selections among each other's last turns."""
    dialogues = [record for records in examples for record in records if isinstance(record, Dialogue)]
    if dialogues:
        others = [records for records in examples if not isinstance(records[0], Dialogue)]
        examples = [*others, *([selection] for selection in selections(dialogues, seed))]
    return [question for number, records in enumerate(examples, first) for question in questions(records, number)]
