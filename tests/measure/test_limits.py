"""Where a member hurts: parts of a test, what is kept of each, and the examples that show it."""

from itertools import pairwise

import pytest
from fakes import answers, interval, report
from hypothesis import given
from hypothesis import strategies as some

from minikin.measure.differing import marked
from minikin.measure.limits import limits
from minikin.measure.metrics import sentence_score
from minikin.measure.samples import samples
from minikin.measure.sentences import least_kept
from minikin.measure.tasks import questions, with_complexity
from minikin.text.records import Dialogue, Summarization, Translation, Turn

WORDS = ["the old man sells a red cow today"] * 60


def parts(given, by, reference=None):
    found = limits(given, reference or given, {}, 50, seed=1)
    return {bucket.label: bucket for bucket in found if bucket.by == by}


def told(complexities, outputs=None):
    """Translations of which each tells its complexity."""
    references = WORDS[: len(complexities)]
    whole = answers("translation", outputs or references, [(text,) for text in references])
    return [replaced(answer, complexity=value) for answer, value in zip(whole, complexities, strict=True)]


def replaced(answer, **fields):
    return type(answer)(**{**vars(answer), **fields})


def test_a_member_keeps_all_of_itself_on_every_part():
    for bucket in limits(told([1, 2, 3] * 20), told([1, 2, 3] * 20), {}, 50, seed=1):
        assert (bucket.retention.value, bucket.retention.low, bucket.retention.high) == (1, 1, 1)
        assert bucket.retention.n == bucket.score.n


def test_what_is_kept_is_told_for_the_part_that_loses_it():
    worse = ["no"] * 30 + WORDS[30:]
    found = parts(told([1] * 30 + [2] * 30, worse), "complexity", told([1] * 30 + [2] * 30))
    assert found["1"].retention.high < 0.1
    assert found["2"].retention.value == 1


def test_complexities_are_quarters_of_numbers_and_a_bucket_a_label():
    found = parts(told([1.5] * 20 + [2.5] * 20), "complexity")
    assert {label: bucket.score.n for label, bucket in found.items()} == {"1.5": 20, "2.5": 20}
    found = parts(told(["easy"] * 25 + ["hard"] * 20 + ["odd"] * 3 + ["rare"] * 2 + [None] * 10), "complexity")
    assert {label: bucket.score.n for label, bucket in found.items()} == {"easy": 25, "hard": 20, "other": 5}
    assert parts(told([None] * 40), "complexity") == {}


@given(some.lists(some.one_of(some.none(), some.integers(0, 5), some.sampled_from("ab")), min_size=1, max_size=60))
def test_no_answer_that_tells_its_complexity_is_lost(complexities):
    found = parts(told(complexities), "complexity")
    assert sum(bucket.score.n for bucket in found.values()) == sum(value is not None for value in complexities)


def test_a_small_group_of_a_part_is_no_corpus_of_its_own():
    grouped = [replaced(answer, group="b" if number == 0 else "a") for number, answer in enumerate(told([1] * 40))]
    wrong = [replaced(grouped[0], output="no"), *grouped[1:]]
    assert parts(wrong, "complexity")["1"].score.value > 90


def test_records_that_tell_no_complexity_show_one():
    turns = tuple(Turn(role="ab"[number % 2], text="x") for number in range(4))
    dialogue, summary = Dialogue(turns=turns), Summarization(document="a b c d e f", summary="a b")
    pair = Translation(source="a", target="b", source_lang="en", target_lang="de")
    asked = [with_complexity(list(questions([record], 0)))[0] for record in (dialogue, summary, pair)]
    assert [question.complexity for question in asked] == [3, 3.0, None]


def test_what_one_record_tells_is_not_mixed_with_what_others_show():
    records = [
        Summarization(document="a b", summary="a", complexity="hard"),
        Summarization(document="a b", summary="a"),
    ]
    turns = tuple(Turn(role=role, text="x") for role in "ab")
    asked = list(questions([*records, Dialogue(turns=turns)], 0))
    assert [question.complexity for question in with_complexity(asked)] == ["hard", None, 1]


def test_the_part_that_keeps_least_is_told_if_it_is_clearly_worse():
    family = report()
    said = least_kept(family, "nano", "translation")
    kept = "nano keeps least of full's translation on inputs of 10–20 words: 30.0% (30.0% to 40.0%), 50.0% in all"
    assert said == f"{kept}; the lowest of 2 parts."
    none = "On no part of translation does full keep clearly less of full than in all"
    assert least_kept(family, "full", "translation") == f"{none} (100.0%; 2 parts of 20 examples or more)."
    assert "too close to chance" in least_kept(family, "nano", "dialogue")


def with_parts(*parts):
    """A family whose second member keeps so much, with such an upper end, of parts of so many examples."""
    family = report()
    for name, member in family.members.items():
        (bucket, *_) = member.limits
        limits = tuple(
            replaced(bucket, label=f"part {n}", score=interval(50, n=n), retention=interval(share, share, high, n=n))
            for share, high, n in parts
        )
        family.members[name] = replaced(member, limits=limits)
    return family


def test_a_part_of_few_examples_is_not_named():
    said = least_kept(with_parts((0.2, 0.3, 19), (0.3, 0.4, 20), (0.7, 0.8, 90)), "nano", "translation")
    assert "on inputs of part 20 words: 30.0%" in said
    assert said.endswith("; the lowest of 2 parts.")
    said = least_kept(with_parts((0.2, 0.3, 19)), "nano", "translation")
    assert said.startswith("On no part of translation")
    assert said.endswith("(50.0%; 0 parts of 20 examples or more).")


def test_parts_too_uncertain_to_be_named_are_told_of():
    said = least_kept(with_parts((0.2, 0.6, 30), (0.3, 0.4, 40), (0.7, 0.8, 90)), "nano", "translation")
    assert "on inputs of part 40 words: 30.0%" in said
    assert said.endswith("; the lowest of 3 parts, 1 that is too uncertain aside.")


def test_two_answers_to_one_example_are_one_example_of_a_part():
    twice = [replaced(answer, example=number // 2) for number, answer in enumerate(told([1] * 30 + [2] * 30))]
    assert {label: bucket.score.n for label, bucket in parts(twice, "complexity").items()} == {"1–2": 30}
    labelled = told(["easy"] * 40 + ["hard"] * 20)
    twice = [replaced(answer, example=number // 2) for number, answer in enumerate(labelled)]
    assert {label: bucket.score.n for label, bucket in parts(twice, "complexity").items()} == {"easy": 20, "other": 10}


def family_answers():
    """Twelve questions of each task; the second member fails some, the worst first."""
    outputs = [f"the man number {number} sells his cow" for number in range(12)]
    spoiled = [" ".join(output.split()[: 3 + number]) for number, output in enumerate(outputs)]
    return {
        name: {
            task: answers(task, said, [(output,) for output in outputs])
            for task in ("translation", "summarization", "dialogue")
        }
        for name, said in (("full", outputs), ("nano", spoiled))
    }


def test_ten_examples_show_where_it_hurts_spread_over_the_tasks():
    found = [sample for sample in samples(family_answers()) if sample.kind == "hurts most"]
    tasks = [sample.task for sample in found]
    # summaries and replies lose words for four examples, translations as well; nothing else hurts
    assert {task: tasks.count(task) for task in tasks} == {"translation": 4, "summarization": 3, "dialogue": 3}
    drops = [sample.scores["full"] - sample.scores["nano"] for sample in found]
    assert min(drops) > 0
    assert drops[:4] == sorted(drops[:4], reverse=True)
    assert samples(family_answers()) == samples(family_answers())


def test_where_nothing_is_lost_nothing_hurts():
    perfect = family_answers()["full"]
    assert {sample.kind for sample in samples({"full": perfect, "nano": perfect})} == {"typical"}


def test_a_true_reply_that_only_the_first_finds_hurts_most():
    given = family_answers()
    full = [replaced(answer, hit=True) for answer in given["full"]["dialogue"]]
    nano = [replaced(answer, hit=number != 9) for number, answer in enumerate(given["nano"]["dialogue"])]
    worst = samples({"full": {"dialogue": full}, "nano": {"dialogue": nano}})[0]
    assert worst.hits == {"full": True, "nano": False}
    assert "number 9" in worst.reference


@pytest.mark.parametrize("task", ["translation", "summarization", "dialogue"])
def test_one_answer_is_scored_from_0_to_100(task):
    perfect, empty = answers(task, ["old man", ""], [("old man",), ("old man",)])
    assert sentence_score(perfect) == pytest.approx(100)
    assert sentence_score(empty) == 0


@given(some.text(alphabet="ab \n", max_size=30), some.text(alphabet="ab \n", max_size=30))
def test_a_marked_output_is_still_the_output(output, reference):
    runs = marked(output, reference)
    assert "".join(run for run, _ in runs) == output
    assert not any(differs for _, differs in marked(output, output))
    assert all(one != other for (_, one), (_, other) in pairwise(runs))


def test_words_that_differ_are_marked_in_runs():
    assert marked("This was so new.", "This is new.") == [("This ", False), ("was so", True), (" new.", False)]
