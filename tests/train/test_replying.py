"""Replies are told apart: each counts against all others of the batch, and is read by itself."""

import pytest
import torch
from fakes import decoder_of, documents
from torch.nn import functional

from minikin.model.embed import SHARPNESS, embedded, likeness, replies
from minikin.model.generate import read
from minikin.text.batches import Batch
from minikin.train.objective import Distill, NextToken, counted_positions
from minikin.train.replying import Replying, disagreement, exchange, mistaken, scores
from minikin.train.teacher import Teacher

OPENING = (2, 4, 7)
REPLYING = Replying(opening=OPENING, weight=0.5)


def marked(rows: Batch, *stretches: tuple[int, int, int]) -> Batch:
    """The rows with replies at (row, first, past the last)."""
    told = torch.zeros_like(rows.replies)
    weights = rows.weights.clone()
    for row, begin, end in stretches:
        told[row, begin:end] = True
        weights[row, begin:end] = 1.0
    return Batch(**vars(rows) | {"replies": told, "weights": weights})


def test_a_reply_reads_the_same_alone_and_beside_others():
    decoder = decoder_of()
    said = [[9, 10, 11], [12], [13, 14, 15, 16, 17]] * 20
    together = embedded(decoder, replies(OPENING, said))
    alone = torch.cat([embedded(decoder, replies(OPENING, [reply])) for reply in said[:3]])
    torch.testing.assert_close(together, alone.repeat(20, 1))


def test_a_replys_vector_is_the_mean_over_its_words():
    decoder, reply = decoder_of(), [9, 10, 11]
    tokens = torch.tensor([[*OPENING, *reply]])
    hidden = decoder(tokens, torch.arange(6)[None], torch.zeros_like(tokens))
    torch.testing.assert_close(embedded(decoder, replies(OPENING, [reply]))[0], hidden[0, 3:].mean(0))


def test_replies_of_a_batch_are_found_with_what_they_follow():
    rows = marked(documents(2, 24), (0, 4, 7), (0, 14, 15), (1, 20, 24))
    found = exchange(rows, OPENING)
    assert found.places.tolist() == [4, 14, 24 + 20]
    words = [rows.targets[row, begin:end].tolist() for row, begin, end in ((0, 4, 7), (0, 14, 15), (1, 20, 24))]
    assert [found.said.tokens[found.said.inside & (found.said.documents == n)].tolist() for n in range(3)] == words


def test_what_begins_a_document_is_no_reply_and_rows_end_one():
    rows = marked(documents(2, 24), (0, 20, 24), (1, 0, 3), (1, 8, 10))  # the second touches the first when flattened
    assert exchange(rows, OPENING).places.tolist() == [20, 24 + 8]


def test_fewer_than_two_different_replies_cannot_be_told_apart():
    rows = documents(2, 24)
    assert exchange(rows, OPENING) is None
    assert exchange(marked(rows, (0, 4, 7)), OPENING) is None


def test_equal_replies_are_no_alternatives():
    rows = marked(documents(2, 24), (0, 4, 7), (1, 4, 7), (1, 15, 17))
    rows.targets[1, 4:7] = rows.targets[0, 4:7]
    found = exchange(rows, OPENING)
    decoder = decoder_of()
    chances = scores(decoder, found, torch.randn(3, decoder.config.hidden_size)).softmax(-1)
    assert chances[0, 1] == chances[1, 0] == 0
    torch.testing.assert_close(chances.sum(-1), torch.ones(3))


def test_likeness_is_the_cosine():
    one, other = torch.randn(3, 8), torch.randn(5, 8)
    expected = functional.cosine_similarity(one[:, None], other[None], dim=-1) * SHARPNESS
    torch.testing.assert_close(likeness(one, other), expected)


def test_training_and_measuring_score_alike():
    decoder, rows = decoder_of(), marked(documents(2, 24), (0, 4, 7), (1, 15, 17))
    found, counted = exchange(rows, OPENING), counted_positions(rows)
    hidden = decoder(rows.tokens, rows.positions, rows.documents, pick=counted.pick)
    trained = scores(decoder, found, hidden[counted.rank(found.places)])
    # each conversation is its document up to where the reply begins
    prompts = [rows.tokens[0, :5].tolist(), rows.tokens[1, 12:16].tolist()]
    said = [rows.targets[0, 4:7].tolist(), rows.targets[1, 15:17].tolist()]
    measured = likeness(read(decoder, prompts).hidden, embedded(decoder, replies(OPENING, said)))
    torch.testing.assert_close(measured, trained)


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_the_loss_counts_as_much_as_is_asked(weight):
    decoder, rows = decoder_of(), marked(documents(2, 24), (0, 4, 7), (1, 15, 17))
    parts = NextToken(replying=Replying(opening=OPENING, weight=weight)).losses(decoder, rows)
    plain = NextToken().losses(decoder, rows)
    torch.testing.assert_close(parts["truth"], plain["truth"])
    found, counted = exchange(rows, OPENING), counted_positions(rows)
    hidden = decoder(rows.tokens, rows.positions, rows.documents, pick=counted.pick)
    expected = weight * mistaken(scores(decoder, found, hidden[counted.rank(found.places)]))
    torch.testing.assert_close(parts["reply"], expected)


def test_a_student_that_is_its_teacher_agrees_with_it():
    decoder, rows = decoder_of(), marked(documents(2, 24), (0, 4, 7), (1, 4, 7), (1, 15, 17))
    rows.targets[1, 4:7] = rows.targets[0, 4:7]  # equal replies are out of the choice, with both
    teacher = Teacher(decoder=decoder, kept_hidden=())
    parts = Distill(teacher=teacher, truth_share=0.0, replying=REPLYING).losses(decoder, rows)
    assert abs(parts["reply"].item()) < 1e-5
    other = Teacher(decoder=decoder_of(seed=4), kept_hidden=())
    assert Distill(teacher=other, truth_share=0.0, replying=REPLYING).losses(decoder, rows)["reply"].item() > 1e-4


def test_disagreement_is_that_of_torch():
    student, teacher = torch.randn(4, 6), torch.randn(4, 6)
    theirs = functional.kl_div(student.log_softmax(-1), teacher.softmax(-1), reduction="batchmean")
    torch.testing.assert_close(disagreement(student, teacher), theirs)


def test_learning_to_tell_replies_apart_does():
    decoder = decoder_of().train()
    rows = marked(documents(4, 24), *((row, begin, begin + 3) for row in range(4) for begin in (4, 16)))
    found, counted = exchange(rows, OPENING), counted_positions(rows)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=0.01)

    def mistake():
        hidden = decoder(rows.tokens, rows.positions, rows.documents, pick=counted.pick)
        return mistaken(scores(decoder, found, hidden[counted.rank(found.places)]))

    before = mistake().item()
    for _ in range(30):
        optimizer.zero_grad()
        loss = mistake()
        loss.backward()
        for parameter in decoder.parameters():  # tables have sparse gradients, which Adam does not take
            if parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = parameter.grad.to_dense()
        optimizer.step()
    assert mistake().item() < before / 2
