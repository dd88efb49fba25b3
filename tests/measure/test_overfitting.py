"""A held-out loss that rises again is told, one that merely wavers is not."""

import pytest

from minikin.measure.overfitting import parted
from minikin.measure.records import CurvePoint


def curve(*losses):
    """Readings every 1.5 million tokens."""
    return [
        CurvePoint(tokens=1_500_000 * number, loss=0.1, held_out={"translation": loss, "text": 1.0})
        for number, loss in enumerate(losses, 1)
    ]


def test_a_rise_is_told_with_its_lowest_point():
    assert parted(curve(2.0, 1.2, 1.31)) == ["translation: held-out loss rose from 1.20 at 3.0 M tokens to 1.31"]


@pytest.mark.parametrize("losses", [(), (1.0,), (2.0, 1.0), (2.0, 1.0, 1.02), (2.0, 1.0, 3.0, 0.9)])
def test_falls_and_wavering_are_not_told(losses):
    assert parted(curve(*losses)) == []
