"""What people read: the page and the tables say what the report knows, and nothing that it does not."""

import io
import re
from dataclasses import replace

import pytest
from fakes import interval, report
from rich.console import Console

from minikin.measure.page import page
from minikin.measure.records import Precision
from minikin.measure.retention import comparable, cost_promise, quality_promise
from minikin.measure.sentences import KEPT_WIDER
from minikin.measure.terminal import tables
from minikin.ship.types import stored_type


def in_terminal(family):
    console = Console(file=io.StringIO(), width=120)
    console.print(tables(family))
    return console.file.getvalue()


@pytest.fixture(scope="module")
def html():
    return page(report())


def test_groups_stand_under_their_task(html):
    for shown in (html, in_terminal(report())):
        places = [shown.index(said) for said in ("translation", "one en-de", "two en-de", "dialogue")]
        assert places == sorted(places)
    assert re.search(
        r"one en-de</td><td>bleu</td><td>1\.0</td>\s*<td>60\.0 .*</td>\s*<td>30\.0 .*</td>\s*<td>\s*50\.0 %", html
    )


def test_shares_of_chance_are_not_shown():
    family = report()
    nano = family.members["nano"]
    absurd = {"dialogue": {"hits@1": interval(2.93, 0.5, 9.0)}}
    promise = quality_promise("dialogue", 0.5, absurd["dialogue"], too_close=["hits@1"])
    family.members["nano"] = replace(nano, retention=nano.retention | absurd, promises=(promise,))
    for shown in (page(family), in_terminal(family)):
        assert "293" not in shown
        assert "–" in shown
        assert "hits@1 is too close to chance to compare" in shown


def test_the_page_tells_of_overfitting(html):
    for said in (
        "nano, translation: held-out loss rose from 1.00 at 1.0 M tokens to 1.20",
        "translation one 1.50",
        "step 70</td>",
        "translation +0.250",
    ):
        assert said in html


def test_outputs_stand_side_by_side_with_marks_and_nothing_of_them_is_markup(html):
    assert "This <mark>was &lt;i&gt;new&lt;/i&gt;.</mark>" in html
    assert "Das ist &lt;b&gt;alt&lt;/b&gt;." in html
    assert "<i>" not in html
    assert "full · chrF 100" in html


def test_the_limits_tell_parts_and_where_least_is_kept(html):
    assert "nano keeps least of full&#39;s translation on inputs of 10–20 words" in html
    assert re.search(r"<td>10–20</td><td>100</td>\s*<td>50\.0 .*</td>\s*<td>15\.0 .*</td><td>\s*30\.0 %", html)


def test_what_reaches_down_to_chance_is_not_comparable():
    assert not comparable(interval(6.0, 4.9, 7.0), 5.0)
    assert comparable(interval(6.0, 5.1, 7.0), 5.0)


def test_a_metric_that_is_missed_is_missed_whatever_another_says():
    kept = {"hits@1": interval(2.9), "reply_f1": interval(0.3)}
    found = quality_promise("dialogue", 0.5, kept, too_close=["hits@1"])
    assert (found.verdict, found.reason) == ("missed", "")
    found = quality_promise("dialogue", 0.5, kept | {"reply_f1": interval(0.9)}, too_close=["hits@1"])
    assert (found.verdict, found.reason) == ("undecided", "the first member's hits@1 is too close to chance to compare")


def test_a_training_on_a_gpu_tells_its_utilisation(html):
    assert "MFU" not in html
    family = report()
    full = family.members["full"]
    training = replace(full.training, tokens_per_second=123456.0, mfu=0.25)
    family.members["full"] = replace(full, training=training)
    shown = page(replace(family, how={"mfu": "a share of a peak"}, machine={**family.machine, "accelerator": "abacus"}))
    for said in (
        "<td>123,456</td>",
        "<td>25.0 %</td>",
        "<td>–</td>",
        "MFU, model FLOPs utilisation: a share of a peak.",
        "torch 2, abacus",
    ):
        assert said in shown


def with_costs(family):
    """The family, whose second member promises little memory and compute, and has its weights rounded."""
    nano = family.members["nano"]
    promises = (cost_promise("memory", 0.25, 0.2), cost_promise("compute", 0.5, 0.6))
    rounded = Precision(bytes=4, scores=nano.scores, retention=nano.retention)
    family.members["full"] = replace(family.members["full"], precisions={"q4_0": rounded})
    family.members["nano"] = replace(nano, promises=promises)
    return family


def test_costs_say_what_they_count():
    told = page(with_costs(report()))
    for said in (
        "nano takes 20.0% of full&#39;s memory (bytes of weights); promised at most 25%: kept",
        "nano takes 60.0% of full&#39;s compute (operations a token); promised at most 50%: missed",
        "<th>MB, all weights at 16 / 8 / 4 bits</th>",
        "PyTorch's on the CPU",
    ):
        assert said in told
    shown = in_terminal(with_costs(report()))
    for said in (
        "memory: bytes of weights",
        "compute: operations a token",
        "MB: of all weights, as if each had 16 bits",
    ):
        assert said in shown


def test_what_is_not_rounded_to_few_bits_is_told():
    family = with_costs(report())
    for shown in (page(family), " ".join(in_terminal(family).split())):
        assert KEPT_WIDER in shown
    told = [("vectors", "model.norm.weight", (64,), "q8_0", "F32"), ("rows", "model.x.weight", (8, 40), "q4_0", "F16")]
    wider = ("embed_tokens", "self_attn.q_proj", "per_layer_input_gate", "per_layer_projection")
    told += [("at 8", f"model.{name}.weight", (8, 64), "q4_0", "Q8_0") for name in wider]
    told += [("others", f"model.{name}.weight", (8, 64), "q4_0", "Q4_0") for name in ("embed_tokens_per_layer", "mlp")]
    for what, name, shape, kind, type_ in told:
        assert stored_type(name, shape, kind).name == type_, what


def test_many_members_stand_in_rows_with_their_whole_names():
    family = report()
    members = {f"{name}_after_step_{step}": member for step in range(4) for name, member in family.members.items()}
    shown = in_terminal(replace(family, members=members))
    rows = [line for line in shown.splitlines() if "nano_after_step_3" in line]
    assert any("30.0" in row for row in rows)
    assert "…" not in shown
