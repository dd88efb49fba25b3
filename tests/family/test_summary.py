"""What a report says of itself."""

from types import SimpleNamespace

import pytest
from fakes import interval

from minikin.family.recipe import Hardware
from minikin.family.summary import _hollow, _utilisation


@pytest.mark.parametrize(("promised", "told"), [(0.8, True), (0.95, False), (None, False)])
def test_a_promise_that_no_skill_would_keep_is_told(promised, told):
    first, other = (SimpleNamespace(promise=SimpleNamespace(summarization=target)) for target in (None, promised))
    site = SimpleNamespace(recipe=SimpleNamespace(member={"full": first, "mini": other}, first="full"))
    scores = {"summarization": {"rouge1": interval(32.0), "rouge2": interval(8.0), "rougel": interval(0.0)}}
    found = _hollow(site, scores, {"rouge1": 28.8, "rouge2": 7.0, "rougel": 1.0})
    kept = "summarization: 88% of full's rouge2 at least, as much as is promised of mini"
    assert found == ({"what no skill would keep": kept} if told else {})


def test_a_share_of_a_peak_says_what_is_counted_and_what_is_not():
    site = SimpleNamespace(recipe=SimpleNamespace(hardware=Hardware(name="abacus", flops_per_second=2e12)))
    full, mini = (SimpleNamespace(training=SimpleNamespace(mfu=mfu)) for mfu in (None, 0.25))
    told = _utilisation(site, {"full": full, "mini": mini})["mfu"]
    assert told.startswith("training operations a second, attention left out, as a share of 2 TFLOP/s of abacus; ")
    assert _utilisation(site, {"full": full}) == {}
