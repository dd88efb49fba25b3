"""All that PyTorch computes for engines is done in one thread, in turn."""

from threading import current_thread

import pytest

from minikin.engine.computing import done, later


def test_work_is_done_in_turn_in_one_other_thread():
    seen = []
    for number in range(9):
        later(lambda number=number: seen.append((number, current_thread().name)))
    name = done(lambda: current_thread().name)
    assert seen == [(number, name) for number in range(9)]
    assert name != current_thread().name


def test_what_fails_is_raised_where_it_was_asked_for():
    with pytest.raises(ZeroDivisionError):
        done(lambda: 1 // 0)
    assert done(lambda: 7) == 7


def test_a_fault_keeps_nobody_else_from_a_turn(capsys):
    later(lambda: [][1])
    assert done(lambda: "still there") == "still there"
    assert "IndexError" in capsys.readouterr().err
