"""What a provenance tells of a training's speed."""

import pytest
from fakes import site

from minikin.base.files import write_json
from minikin.family.history import training


def told(folder, **facts):
    """The record of a training of two million tokens in ten seconds, of so much at peak."""
    made = site(folder, "hardware.flops_per_second=1e12")
    write_json(
        made.store.folder("full") / "provenance.json",
        {
            "tokens": 2_000_000,
            "training_flops": 4 * 10**12,
            "seconds": 10.0,
            "epochs": {},
            "gap": {},
            "curve": [],
            "parent": None,
            "origin": None,
            "teacher": None,
            **facts,
        },
    )
    return training(made, "full")


def test_a_training_on_a_gpu_has_a_speed_and_a_share_of_the_peak(tmp_path):
    found = told(tmp_path, device="abacus")
    assert (found.tokens_per_second, found.mfu) == (200_000.0, pytest.approx(0.4))


@pytest.mark.parametrize("facts", [{}, {"device": ""}], ids=["of before", "on the processor"])
def test_a_training_on_a_processor_has_a_speed_alone(tmp_path, facts):
    found = told(tmp_path, **facts)
    assert (found.tokens_per_second, found.mfu) == (200_000.0, None)


def test_two_phases_are_counted_together(tmp_path):
    before = {"tokens": 1_000_000, "training_flops": 2 * 10**12, "seconds": 2.0, "epochs": {}, "curve": []}
    before |= {"parent": None, "origin": None, "teacher": None, "device": "abacus"}
    found = told(tmp_path, device="abacus", before=before, corrector="full")
    assert (found.tokens_per_second, found.mfu) == (250_000.0, pytest.approx(0.5))


def test_what_was_not_trained_has_neither(tmp_path):
    found = told(tmp_path, tokens=0, training_flops=0, seconds=0.0, device="abacus")
    assert (found.tokens_per_second, found.mfu) == (0.0, None)


def test_operations_are_whole_whatever_share_of_rows_were_own_answers(tmp_path):
    assert told(tmp_path, training_flops=1230028.8).flops == 1230029
