"""From recipe to rows: sources are seen by size and weight; a member begins as its parent, cut."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from minikin.base.log import Log
from minikin.base.seeds import torch_generator
from minikin.family.fitting import held_out, mixture
from minikin.family.plan import plan
from minikin.family.reading import read_recipe
from minikin.family.site import Site, data_key, member_key
from minikin.family.stages import prepare_data
from minikin.family.store import Store
from minikin.model.decoder import initialized

VILLAGE = Path(__file__).parents[2] / "recipes" / "village.toml"
SMALL = [
    "data.translation.train=['village:100', {source = 'village:301', weight = 2.5}]",
    "data.summarization.train=['village:40']",
    "data.dialogue.train=['village:40']",
    "data.text.train=['village:40']",
    "tokenizer.vocab_size=512",
    "measure.max_examples=20",
]


def site(folder, *overrides):
    recipe = read_recipe(VILLAGE, [*SMALL, *overrides])
    log = Log(folder / "log.jsonl", Console(file=io.StringIO()))
    return Site(recipe=recipe, planned=plan(recipe), store=Store(folder), log=log)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    made = site(tmp_path_factory.mktemp("site"))
    prepare_data(made)
    return made


def test_sources_of_a_task_are_seen_by_their_weight(prepared):
    rows = mixture(prepared, "full", prepared.recipe.member["full"].train)
    epochs = rows.epochs(1000)
    plain, doubled = (epochs[f"translation village:{count}"] for count in (100, 301))
    assert doubled / plain == pytest.approx(2.5, rel=0.05)


def test_tasks_keep_their_shares_whatever_their_sources(prepared):
    rows = mixture(prepared, "full", prepared.recipe.member["full"].train)
    shares = {share.name.split()[0]: 0.0 for share in rows._shares}
    for share in rows._shares:
        shares[share.name.split()[0]] += share.share
    assert shares == pytest.approx({"translation": 3, "summarization": 1.5, "dialogue": 1.5, "text": 0.3})


def test_held_out_losses_are_of_every_task_that_has_a_test(prepared):
    decoder = initialized(prepared.planned["nano"].config, torch_generator(1, "test")).eval()
    assert set(held_out(prepared, "test")(decoder)) == {"translation", "summarization", "dialogue"}
    assert set(held_out(prepared, "train")(decoder)) == {"translation", "summarization", "dialogue", "text"}


def test_a_weight_changes_the_members_and_not_the_data(tmp_path):
    one, other = site(tmp_path), site(tmp_path, "data.translation.train=['village:100', 'village:301']")
    assert data_key(one) == data_key(other)
    assert member_key(one, "full") != member_key(other, "full")
