"""How long places stay taken is measured, up to a deadline, and what changed is told."""

import asyncio
from pathlib import Path

import pytest
import serve_cancel
from serve_cancel import Seen, freed
from servers import serving, two_members


def counting(*counts):
    """A server that is so busy, one look after the other, and goes on as it was last."""
    left = list(counts)

    async def busy():
        return left.pop(0) if len(left) > 1 else left[0]

    return busy


def test_the_time_until_all_places_are_free_is_measured():
    assert asyncio.run(freed(counting(3, 2, 2, 0), 10)) >= 3 * serve_cancel._LOOK


def test_places_that_stay_taken_fail_after_the_deadline():
    with pytest.raises(TimeoutError, match=r"2 places still taken after 0\.1 s"):
        asyncio.run(freed(counting(3, 2), 0.1))


def test_a_look_that_never_ends_fails_after_the_deadline():
    with pytest.raises(TimeoutError):
        asyncio.run(freed(lambda: asyncio.sleep(100, 1), 0.1))


def test_the_claim_holds_only_if_all_were_free_in_time_and_nothing_changed():
    assert Seen(freed=[0.01, 0.2], answers=3).holds
    assert not Seen(freed=[0.01, 0.21], answers=3).holds
    changed = Seen(freed=[0.01], answers=3, changed=[("a", "b")])
    assert not changed.holds
    assert "1 of 3 answers beside them changed: 'a' alone, 'b' then" in changed.told()
    assert "1 of 2 times later than 200 ms" in Seen(freed=[0.01, 0.21], answers=3).told()


def test_a_few_streams_are_left_and_every_batch_is_measured(tmp_path):
    with serving(two_members(tmp_path) / "large", "--slots", "32") as (address, _):
        seen = asyncio.run(serve_cancel._run(address, Path("large"), 25))
    assert (len(seen.freed), seen.answers, seen.changed) == (2, 6, [])
