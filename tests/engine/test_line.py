"""Who waits comes in turn."""

from minikin.engine.line import Line


def test_as_many_come_together_as_there_is_room_for():
    line = Line[str](9)
    for word in ("a" * 9, "bb", "ccc", "d", "e"):
        line.enter(word)
    assert line.first(3, len, 5) == ["a" * 9]  # however long it is
    assert line.first(3, len, 5) == ["bb", "ccc"]
    assert line.first(1, len, 5) == ["d"]
    assert line.next() == "e"
    assert line.first(3, len, 5) == []
    line.close()
    assert line.next() is None
