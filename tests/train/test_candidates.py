"""The best of what a training passed through is kept: the last weights, their mean, or those of the lowest loss."""

import torch
from fakes import decoder_of

from minikin.train.candidates import Candidates


def weights(seed):
    return decoder_of(seed=seed).state_dict()


def offered(folder, losses, last=2):
    """Candidates of a training whose weights after step n are those of seed n."""
    candidates = Candidates(folder, last)
    for step, loss in enumerate(losses, 1):
        candidates.offer(decoder_of(seed=step), step, {"a": loss, "b": loss + 1})
    return candidates


def same(decoder, expected):
    return all(torch.equal(decoder.state_dict()[name], tensor) for name, tensor in expected.items())


def scorer(wanted):
    """A score that is 1 for these weights and 0 for all others."""
    return lambda decoder: float(same(decoder, wanted))


def test_only_the_last_and_the_lowest_are_kept(tmp_path):
    offered(tmp_path, [5.0, 1.0, 4.0, 3.0, 2.0])
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["candidate-00000002", "candidate-00000004", "candidate-00000005"]


def test_the_best_by_score_is_taken_whichever_it_is(tmp_path):
    candidates = offered(tmp_path, [5.0, 1.0, 4.0, 3.0])
    for step in (2, 3, 4):
        decoder = decoder_of(seed=99)
        assert candidates.keep_best(decoder, scorer(weights(step))).name == f"step {step}"
        assert same(decoder, weights(step))


def test_equal_scores_take_the_mean_of_the_last(tmp_path):
    decoder = decoder_of(seed=99)
    kept = offered(tmp_path, [3.0, 2.0, 1.0]).keep_best(decoder, lambda _: 7.0)
    assert kept.name == "mean of steps 2, 3"
    assert kept.scores == {"mean of steps 2, 3": 7.0, "step 3": 7.0, "step 2": 7.0}
    for name, tensor in decoder.state_dict().items():
        torch.testing.assert_close(tensor, (weights(2)[name] + weights(3)[name]) / 2)


def test_one_is_its_own_mean_and_none_changes_nothing(tmp_path):
    decoder = decoder_of(seed=99)
    assert offered(tmp_path / "none", [1.0, 2.0], last=0).keep_best(decoder, lambda _: 1.0) is None
    assert same(decoder, weights(99))
    assert offered(tmp_path / "one", [1.0], last=1).keep_best(decoder, lambda _: 1.0).name == "step 1"
    assert same(decoder, weights(1))
