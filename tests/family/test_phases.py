"""A member's phases: only cut, distilled, and then taught on its own answers; each is kept and found again."""

import io

import pytest
import torch
from fakes import site
from rich.console import Console

from minikin.base.log import Log
from minikin.family.build import build
from minikin.family.fitting import beginning, mixture
from minikin.family.learning import Optimization
from minikin.family.site import distilled_name
from minikin.model.checkpoint import load

TINY = [
    "threads=1",
    "data.dialogue.reply_weight=0.5",
    "member.full.shape.hidden_size=32",
    "member.full.shape.num_hidden_layers=2",
    "member.full.shape.intermediate_size=32",
    "member.full.shape.head_dim=8",
    "member.full.shape.hidden_size_per_layer_input=16",
    "member.full.train={tokens = 3000, batch_tokens = 512}",
    "member.mini={parent = 'full', compute = '9/10'}",
    "member.nano={parent = 'mini', compute = '9/10', distill = {tokens = 2000, batch_tokens = 512}}",
    "member.nano.on_policy={tokens = 1000, batch_tokens = 512}",
    "quantize={}",
    "measure={max_examples = 4, max_new_tokens = 6, resamples = 20}",
]


def built(folder, *overrides):
    made = site(folder, *TINY, *overrides)
    said = io.StringIO()
    report = build(made.recipe, folder, Log(folder / "log.jsonl", Console(file=said)))
    return made, report, said.getvalue()


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    return built(tmp_path_factory.mktemp("phases"))


def weights(made, name):
    return load(made.store.folder(name)).state_dict()


def same(one, other):
    return all(torch.equal(one[name], tensor) for name, tensor in other.items())


def test_a_member_that_is_only_cut_is_its_parent_cut(family):
    made, report, _ = family
    member = made.recipe.member["mini"]
    decoder, _ = beginning(made, "mini", member, mixture(made, "mini", Optimization(tokens=1)))
    assert same(weights(made, "mini"), decoder.state_dict())
    assert report.members["mini"].training.objective == "cut from full"
    assert report.members["mini"].training.tokens == 0


def test_what_learns_from_its_own_answers_was_distilled_before(family):
    made, report, _ = family
    before, after = (made.store.provenance(name) for name in (distilled_name("nano"), "nano"))
    assert after["before"]["key"] == before["key"]
    assert (before["tokens"], after["tokens"]) == (4 * 512, 2 * 512)
    told = report.members["nano"].training
    assert (told.tokens, len(told.curve)) == (6 * 512, 6)
    assert told.objective == "cut from mini, distilled from mini, taught on its own answers by mini"
    spoilt = after["kept"]["name"] == "step 0"  # so little training may make nothing better
    assert same(weights(made, "nano"), weights(made, distilled_name("nano"))) is spoilt


def test_every_phase_is_planned_and_counted(family):
    made, report, _ = family
    phases, full, mini, nano = made.planned["nano"].phases, *(planned.config for planned in made.planned.values())
    assert list(phases) == ["distill", "on_policy"]
    assert phases["distill"].flops_per_token == nano.training_flops_per_token() + mini.flops_per_token()
    answering = nano.flops_per_token() / 2  # half of the rows
    assert phases["on_policy"].flops_per_token == phases["distill"].flops_per_token + answering
    assert made.planned["nano"].training_tokens == 3000
    counted = 4 * 512 * phases["distill"].flops_per_token + 2 * 512 * phases["on_policy"].flops_per_token
    assert report.members["nano"].training.flops == counted
    assert made.planned["full"].phases["train"].flops_per_token == full.training_flops_per_token()
    assert made.planned["mini"].phases == {}


def test_the_card_tells_of_all_phases(family):
    made, _, _ = family
    card = (made.store.folder("nano") / "README.md").read_text()
    assert "3,072 tokens in 6 steps, 1,024 of them its own answers and data, judged by `mini`" in card


def test_own_answers_are_no_data_seen_again(family):
    made, _, _ = family
    data, half = (made.store.provenance(name) for name in (distilled_name("nano"), "nano"))
    assert half["tokens"] * 2 == data["tokens"]
    assert half["epochs"] == pytest.approx({task: seen / 4 for task, seen in data["epochs"].items()})


def test_provenance_tells_what_guarded_a_training(family):
    made, _, _ = family
    facts = made.store.provenance("full")
    assert facts["dropout"] == 0
    assert facts["weight_decay"] == pytest.approx(0.05, abs=0.02)
    assert facts["kept"]["name"] in facts["kept"]["scores"]
    assert facts["kept"]["scores"][facts["kept"]["name"]] == max(facts["kept"]["scores"].values())


def test_a_changed_last_phase_leaves_what_was_distilled(family):
    made, _, _ = family
    before = made.store.provenance(distilled_name("nano"))["key"]
    _, _, said = built(made.store.root, "member.nano.on_policy.own_share=1.0")
    assert "distilled/nano: is up to date" in said
    assert made.store.provenance(distilled_name("nano"))["key"] == before


def test_replies_are_chosen_as_they_were_learned(family):
    _, report, _ = family
    assert report.how["hits@1"].endswith("by what the conversation adds to log p")
