"""From recipe to rows: sources are seen by size and weight; a member begins as its parent, cut."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from fakes import site

from minikin.base.seeds import torch_generator
from minikin.family import guards, stages
from minikin.family.exams import examples_of
from minikin.family.fitting import mixture
from minikin.family.guards import dropout, held_out, task_score, weight_decay
from minikin.family.learning import Optimization
from minikin.family.site import answers_key, data_key, distilled_key, member_key, overlap_key, written_name
from minikin.family.stages import prepare_data
from minikin.family.supply import training_records, watched_records
from minikin.model.decoder import initialized
from minikin.text.batches import PackedCorpus
from minikin.text.chat import Example, messages
from minikin.text.corpus import Corpus, write_corpus
from minikin.text.mixture import Mixture, Share
from minikin.text.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    made = site(tmp_path_factory.mktemp("site"))
    prepare_data(made)
    return made


def test_sources_of_a_task_are_seen_by_their_weight(prepared):
    rows = mixture(prepared, "full", prepared.recipe.member["full"].train)
    epochs = rows.epochs(1000)
    plain, doubled = (epochs[f"translation village:{count}"] for count in (100, 301))
    assert doubled / plain == pytest.approx(2.5, rel=0.05)


def test_a_distilled_member_may_have_shares_of_its_own_in_all_that_it_learns_from(tmp_path):
    said = ["data.translation.share=2", "member.mini.distill.shares={translation = 6}"]
    made = site(tmp_path, *said, "member.mini.on_policy={tokens = 1000}")
    prepare_data(made)
    others = sum(data.share for task, data in made.recipe.data.tasks.items() if task != "translation")
    for name, share in {"full": 2, "mini": 6, "nano": 2}.items():
        member = made.recipe.member[name]
        for optimization in filter(None, (member.train, member.distill, member.on_policy)):
            rows = mixture(made, name, optimization)
            assert sum(rows.parts("translation")) == pytest.approx(share / (share + others))


def test_a_distilled_members_shares_are_part_of_it_and_of_those_cut_from_it(tmp_path):
    one, other = site(tmp_path), site(tmp_path, "member.mini.distill.shares={translation = 6}")
    changed = {name for name in one.recipe.member if member_key(one, name) != member_key(other, name)}
    assert changed == {"mini", "nano"}


def test_the_tokenizer_knows_best_what_is_trained_on_most(tmp_path):
    tasks = ("translation", "summarization")
    tokens = {}
    for much in tasks:
        made = site(tmp_path / much, *(f"data.{task}.share={30 if task == much else 0.3}" for task in tasks))
        prepare_data(made)
        tokenizer = Tokenizer.load(made.store.folder("data"))
        for task in tasks:
            said = (message.content for record in training_records(made.recipe, task) for message in messages(record))
            tokens[much, task] = sum(len(tokenizer.encode(text)) for text in said)
    assert tokens["translation", "translation"] < 0.98 * tokens["summarization", "translation"]
    assert tokens["summarization", "summarization"] < 0.98 * tokens["translation", "summarization"]


def test_a_tokenizer_sees_its_share_of_each_task_and_little_no_more_than_four_times(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Tokenizer, "train", lambda texts, size: seen.extend(texts) or Tokenizer.of_bytes(size))
    texts = {"translation": ["aa", "bb"], "dialogue": ["c" * 9] * 3 + ["d" * 9] * 200}
    monkeypatch.setattr(stages, "_texts", lambda _, task: iter(texts.get(task, ["e"])))
    made = site(tmp_path, "data.translation.share=3", "data.dialogue.share=1", "data.tokenizer_characters=2000")
    stages._tokenizer(made)
    assert seen[:8] == ["aa", "bb"] * 4
    assert seen[8] != "aa"
    found = Counter(text[0] for text in seen)
    assert found["c"] == 3
    assert 0 < found["d"] < 100


def test_tasks_keep_their_shares_whatever_their_sources(prepared):
    rows = mixture(prepared, "full", prepared.recipe.member["full"].train)
    shares = {share.name.split()[0]: 0.0 for share in rows._shares}
    for share in rows._shares:
        shares[share.name.split()[0]] += share.share
    assert shares == pytest.approx({"translation": 3, "summarization": 1.5, "dialogue": 1.5, "text": 0.3})


def test_held_out_losses_are_of_every_task(prepared):
    decoder = initialized(prepared.planned["nano"].config, torch_generator(1, "test")).eval()
    rows = mixture(prepared, "full", prepared.recipe.member["full"].train)
    assert set(held_out(prepared, rows)(decoder)) == {"translation", "summarization", "dialogue", "text"}
    assert set(rows.recent(40, 8)) == {"translation", "summarization", "dialogue", "text"}


def test_rows_without_an_answer_are_no_measure_of_what_was_learned(tmp_path):
    prompt, answer = Example(tokens=(9,) * 500, answer=(False,) * 500), Example(tokens=(8, 7), answer=(False, True))
    write_corpus(tmp_path, [prompt, answer] * 10, 300)
    rows = PackedCorpus(Corpus(tmp_path), 32, prompt_weight=0.1)
    mixed = Mixture([Share(task="summarization", name="long", rows=rows, share=1)], 4, seed=1)
    assert len(rows) > 100
    (found,) = mixed.recent(len(rows), 8).values()
    assert (found.weights.sum(1) > 0).all()


def test_sources_count_in_held_out_losses_as_in_training(prepared, monkeypatch):
    rows = mixture(prepared, "full", prepared.recipe.member["full"].train)
    parts = rows.parts("translation")
    assert len(parts) > 1
    assert len(set(parts)) > 1
    told = iter(range(100))
    monkeypatch.setattr(guards, "loss_of", lambda *_: float(next(told)))
    expected = sum(part * loss for loss, part in enumerate(parts)) / sum(parts)
    assert held_out(prepared, rows)(None)["translation"] == pytest.approx(expected)


def test_recent_rows_are_no_models(prepared):
    share = mixture(prepared, "full", prepared.recipe.member["full"].train)._shares[0]
    written = replace(share, name="by a model", rows=share.rows, by_people=False)
    both, alone = Mixture([share, written], 4, 1), Mixture([share], 4, 1)
    assert both.parts(share.task) == [0.5]
    everything = {tuple(row) for row in both.recent(10, 40)[share.task].tokens.tolist()}
    assert len(everything) == 20
    assert everything == {tuple(row) for row in alone.recent(5, 40)[share.task].tokens.tolist()}


def test_recent_rows_are_those_seen_last(prepared):
    rows = mixture(prepared, "full", prepared.recipe.member["full"].train)
    seen = {tuple(row) for step in range(10) for row in rows.batch(step).tokens.tolist()}
    for batch in rows.recent(10, 4).values():
        assert {tuple(row) for row in batch.tokens.tolist()} <= seen


def test_a_test_set_changes_the_answers_and_not_the_members(tmp_path):
    one, other = site(tmp_path), site(tmp_path, "data.translation.test=['village:30']")
    assert member_key(one, "full") == member_key(other, "full")
    assert answers_key(one, "full") != answers_key(other, "full")


def test_what_a_teacher_wrote_is_part_of_a_member(tmp_path):
    written = "member.nano.distill.teacher_answers=8"
    one, other = site(tmp_path, written), site(tmp_path, written, "measure.max_new_tokens=9")
    assert member_key(one, "nano") != member_key(other, "nano")
    assert member_key(one, "mini") == member_key(other, "mini")


def test_a_last_phase_is_part_of_a_member_and_leaves_what_it_begins_with(tmp_path):
    one, other = site(tmp_path), site(tmp_path, "member.nano.on_policy={tokens = 1000}")
    assert member_key(one, "nano") != member_key(other, "nano")
    assert member_key(one, "nano") == distilled_key(other, "nano")


@pytest.mark.parametrize(("records", "watched"), [(10, 0), (100, 5), (5000, 200)])
def test_what_is_watched_is_held_back_from_training(tmp_path, records, watched):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": f"text {number}"}) + "\n" for number in range(records)))
    recipe = site(tmp_path, f"data.text.train=['{path}']").recipe
    trained = {record.text for record in training_records(recipe, "text")}
    held_back = {record.text for (record,) in watched_records(recipe, "text")}
    assert len(held_back) == watched
    assert not trained & held_back
    assert len(trained) + len(held_back) == records


def test_dropout_and_weight_decay_grow_with_repetition_unless_they_are_said():
    auto, said = Optimization(tokens=1), Optimization(tokens=1, dropout=0.2, weight_decay=0.3)
    assert (dropout(auto, 1.0), weight_decay(auto, 1.0)) == (0.0, 0.05)
    for guard in (dropout, weight_decay):
        values = [guard(auto, repeats) for repeats in (1, 2, 8, 64, 1e6)]
        assert values == sorted(values)
        assert values[0] < values[-1] <= 0.5
    assert (dropout(said, 50.0), weight_decay(said, 50.0)) == (0.2, 0.3)


def test_a_task_score_is_between_0_and_100_and_the_same_twice(prepared):
    decoder = initialized(prepared.planned["nano"].config, torch_generator(1, "test")).eval()
    score = task_score(prepared)
    assert 0 <= score(decoder) == score(decoder) <= 100


def test_how_answers_are_written_is_part_of_them(tmp_path):
    plain, written = site(tmp_path), "member.nano.distill.teacher_answers=8"
    for setting in ("num_beams=4", "no_repeat_ngram_size=3", "max_new_tokens=9"):
        changed = f"measure.decoding.summarization.{setting}"
        assert answers_key(plain, "full") != answers_key(site(tmp_path, changed), "full")
        assert member_key(plain, "nano") == member_key(site(tmp_path, changed), "nano")
        assert member_key(site(tmp_path, written), "nano") != member_key(site(tmp_path, written, changed), "nano")


def test_students_of_one_teacher_learn_from_the_same_answers(tmp_path):
    asked = ["member.mini.distill.teacher_answers={translation = 8}", "member.nano.distill.teacher='full'"]
    alike = site(tmp_path, *asked, "member.nano.distill.teacher_answers={translation = 8}")
    assert written_name(alike, "mini") == written_name(alike, "nano") == "written/mini"
    other = site(tmp_path, *asked, "member.nano.distill.teacher_answers=8")
    assert written_name(other, "nano") == "written/nano"


def test_a_source_is_known_by_what_it_held_when_the_build_began(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "before"}\n')
    made = site(tmp_path, f"data.text.train=['{path}']")
    before = data_key(made)
    path.write_text('{"text": "after"}\n')
    assert data_key(made) == before
    assert data_key(site(tmp_path, f"data.text.train=['{path}']")) != before


def test_a_weight_changes_the_members_and_not_the_data(tmp_path):
    one, other = site(tmp_path), site(tmp_path, "data.translation.train=['village:100', 'village:301']")
    assert data_key(one) == data_key(other)
    assert member_key(one, "full") != member_key(other, "full")


def test_another_kind_of_exam_on_the_same_source_is_answered_anew(tmp_path):
    one = site(tmp_path, "data.dialogue.test=['village:9']", "data.dialogue.select=[]")
    other = site(tmp_path, "data.dialogue.test=[]", "data.dialogue.select=['village:9']")
    assert answers_key(one, "full") != answers_key(other, "full")
    assert overlap_key(one) != overlap_key(other)
    assert member_key(one, "full") == member_key(other, "full")


def test_a_dialogue_is_one_example_whoever_it_is_learned_from(tmp_path):
    asked = "data.dialogue.test=['village:9']", "data.dialogue.select=[]"
    plain, turned = site(tmp_path, *asked), site(tmp_path, *asked, "data.dialogue.every_speaker=true")
    for made in (plain, turned):
        (exam,) = (exam for exam in made.exams if exam.name == "dialogue")
        assert [len(records) for _, records in examples_of(made.recipe, exam)] == [1] * 9
