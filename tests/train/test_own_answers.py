"""A student is taught on its own answers: to the data's prompts, and after an interruption the same ones."""

from itertools import pairwise

import pytest
import torch
from fakes import decoder_of, mixture

from minikin.base.errors import TrainingError
from minikin.train.own_answers import OwnAnswers, prompts

END = 1


def own_answers(folder, rows, share=0.5, seed=1, max_new_tokens=4):
    return OwnAnswers(
        student=decoder_of().train(),
        rows=rows,
        folder=folder,
        share=share,
        max_new_tokens=max_new_tokens,
        seed=seed,
        end=END,
    )


def test_prompts_are_what_stands_before_the_last_answer(tmp_path):
    rows = mixture(tmp_path / "rows", length=32)
    documents = []
    for share in rows._shares:
        corpus = share.rows.corpus
        tokens, answer = corpus.tokens.tolist(), corpus.answer.tolist()
        documents += [(tokens[start:end], answer[start:end]) for start, end in pairwise(corpus.starts.tolist())]
    found = list(prompts(rows.answers(3)))
    assert found
    for prompt in found:
        (after,) = {tuple(marks[len(prompt) :]) for text, marks in documents if text[: len(prompt)] == prompt}
        assert after[0]
        assert list(after) == sorted(after, reverse=True)  # one stretch of answer, and nothing but its frame behind


def test_a_share_of_the_rows_are_the_students_own_and_the_rest_the_datas(tmp_path):
    rows = mixture(tmp_path / "rows", length=32)
    own = own_answers(tmp_path / "own", rows)
    for step in (0, 1, 20):
        batch, data = own.batch(step), rows.batch(step)
        left = own._drawn(step)[2:]
        assert torch.equal(batch.tokens[2:], data.tokens[left])
        assert not any((row == data.tokens).all(1).any() for row in batch.tokens[:2])
        assert set(batch.weights[:2].unique().tolist()) <= {0.0, 1.0}


def test_no_row_of_a_batch_is_always_replaced_nor_never(tmp_path):
    own = own_answers(tmp_path / "own", mixture(tmp_path / "rows", length=32))
    replaced = [set(own._drawn(step)[: own._own].tolist()) for step in range(60)]
    assert set.union(*replaced) == set(range(own._rows.batch_rows))
    assert not set.intersection(*replaced)


def test_own_rows_answer_prompts_of_the_rows_that_they_replace(tmp_path):
    rows = mixture(tmp_path / "rows", length=32)
    asked = {tuple(prompt) for step in range(16) for prompt in prompts(rows.answers(step))}
    batch = own_answers(tmp_path / "own", rows, share=1.0).batch(0)
    answered = {tuple(prompt) for prompt in prompts(batch)}
    assert answered
    assert answered <= asked


def test_a_training_resumed_within_a_round_sees_the_same_answers(tmp_path):
    rows = mixture(tmp_path / "rows", length=32)
    before = own_answers(tmp_path / "own", rows)
    first = [before.batch(step) for step in range(3)]
    resumed = own_answers(tmp_path / "own", rows)
    with torch.no_grad():  # meanwhile it has learned
        resumed._student.embed_tokens.weight += 1
    assert torch.equal(resumed.batch(2).tokens, first[2].tokens)
    assert not torch.equal(own_answers(tmp_path / "other", rows, seed=2).batch(2).tokens, first[2].tokens)


def test_rows_without_room_for_an_answer_are_told(tmp_path):
    rows = mixture(tmp_path / "rows", length=8)  # answers may be four long, and prompts have at least four tokens
    with pytest.raises(TrainingError, match="no prompt is short enough for an answer of 4 tokens"):
        own_answers(tmp_path / "own", rows, max_new_tokens=100).batch(0)
    assert not list((tmp_path / "own").glob("round-*"))


def test_the_student_goes_on_training_after_it_answered(tmp_path):
    own = own_answers(tmp_path / "own", mixture(tmp_path / "rows", length=32))
    own.batch(0)
    assert own._student.training
