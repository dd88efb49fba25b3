"""Recipes: every mistake has its message; budgets become shapes that meet them."""

import re
import time
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from minikin.base.errors import PlanError, RecipeError
from minikin.family.plan import Budget, plan, solve
from minikin.family.reading import checked, read_recipe
from minikin.model.config import alternating_layer_types
from minikin.model.decoder import skeleton

RECIPES = Path(__file__).parents[2] / "recipes"
VILLAGE = RECIPES / "village.toml"

MISTAKES = {
    "seed='x'": r"seed: found 'x'; input should be a valid integer",
    "member.mini.distil.tokens=3": r"member\.mini\.distil: unknown field; did you mean 'distill'\?",
    "sed=1": r"sed: unknown field; did you mean 'seed'\?",
    "member.full.shape.hidden_sice=1": r"member\.full\.shape\.hidden_sice: unknown field; did you mean 'hidden_size'\?",
    "data.translation.train=[]": r"data\.translation\.train: found \[\]; list should have at least 1 item",
    "data.translation.train=['village:0']": r"data\.translation\.train\.0\.source: expected village:COUNT",
    "member.full.train.tokens=1.5": r"member\.full\.train\.tokens: found 1\.5; input should be a valid integer",
    "member.full.train.tokens=0": r"member\.full\.train\.tokens: found 0; input should be greater than 0",
    "member.mini.compute='3/2'": r"member\.mini\.compute: found '3/2'; input should be less than or equal to 1",
    "member.mini.parent='big'": r"member\.mini\.parent: no member 'big' comes before 'mini'; before it come: full",
    "member.mini.distill.shares={dialogue = inf}": r"member\.mini\.distill\.shares\.dialogue: found inf; input",
    "member.mini.distill.shares={selection = 2}": r"member\.mini\.distill\.shares: no data\.selection; there is",
    "member.mini.distill.shares={poems = 2}": r"member\.mini\.distill\.shares\.poems: found 'poems'; input should be",
    "member.mini.distill.shares={dialogue = 0}": r"member\.mini\.distill\.shares\.dialogue: found 0; .*greater than 0",
    "member.nano.distill.teacher='me'": r"member\.nano\.distill\.teacher: no member 'me' comes before",
    "member.mini.promise.translation=1.2": r"member\.mini\.promise\.translation: found 1\.2",
    "data.text.select=['village:3']": r"data: text\.select: response selection is for dialogue",
    "member.nano.distill.hidden_weight=0.1": r"member\.nano: distill\.hidden_weight: .* the parent's as teacher",
    "measure.max_new_tokens=2048": r"measure\.max_new_tokens: found 2048; input should be less than or equal to 1024",
    "measure.decoding.dialogue={num_beams=4, temperature=0.7}": (
        r"measure\.decoding\.dialogue: num_beams is 4 and temperature 0\.7: beams search, a temperature draws"
    ),
    "measure.decoding.translation.top_p=0.9": r"measure\.decoding\.translation: top_p: nothing is drawn at",
    "measure.decoding.summarization.length_penalty=0.6": r"measure\.decoding\.summarization: length_penalty is 0\.6",
    "measure.decoding.dialog.top_k=1": r"measure\.decoding\.dialog: unknown field; did you mean 'dialogue'\?",
    "measure.decoding.dialogue.beams=1": r"measure\.decoding\.dialogue\.beams: unknown field; did you mean 'num_beams",
    "threads='2'": r"threads: found '2'; input should be a valid integer",
    "seed=true": r"seed: found True; input should be a valid integer",
    "name='a b'": r"name: found 'a b'; expected small letters, digits, - and _",
    "member.mini.train.tokens=5": r"member\.mini: give either train or distill",
    "member.full={shape = {hidden_size = 8}}": r"member\.full\.shape\.num_hidden_layers: ",
    "member.full.on_policy={tokens = 5}": r"member\.full: on_policy needs a teacher",
    "member.nano.on_policy={tokens = 5, teacher = 'me'}": r"member\.nano\.on_policy\.teacher: no member 'me' comes",
    "member.full.train.dropout='much'": r"member\.full\.train\.dropout",
    "member.full.train.weight_decay=-1": r"member\.full\.train\.weight_decay",
    "data.translation.reply_weight=1.0": r"data: translation\.reply_weight: replies are told apart in dialogue",
    "tokenizer.vocab_size=1001": r"tokenizer\.vocab_size: found 1001; input should be a multiple of 8",
}


@pytest.mark.parametrize(("override", "said"), MISTAKES.items(), ids=MISTAKES)
def test_a_mistake_is_named_with_its_path(override, said):
    with pytest.raises(RecipeError, match=re.escape(f"village.toml --set {override}: ") + said):
        read_recipe(VILLAGE, [override])


def changed(**sections):
    """The village recipe with whole sections replaced."""
    return tomllib.loads(VILLAGE.read_text()) | sections


def test_a_recipe_that_examines_nothing_is_told():
    data = {"translation": {"train": ["village:9"]}}
    with pytest.raises(RecipeError, match=r"data: no task has a test"):
        checked(changed(data=data), "recipe")


def test_a_promise_that_no_test_judges_is_told():
    data = {"translation": {"train": ["village:9"], "test": ["village:9"]}}
    with pytest.raises(RecipeError, match=r"member\.mini\.promise\.summarization: no test says whether it is kept"):
        checked(changed(data=data), "recipe")


def test_a_test_that_is_trained_on_is_told():
    data = {"translation": {"train": ["a.jsonl"], "test": ["a.jsonl"]}}
    with pytest.raises(RecipeError, match=r"data\.translation: a\.jsonl is both trained on and tested on"):
        checked(changed(data=data), "recipe")


@pytest.mark.parametrize("name", ["data", "answers", "distilled", "evaluations", "overlap", "../x", "A"])
def test_a_member_cannot_be_called_everything(name):
    fields = changed()
    fields["member"] = {name: fields["member"]["full"]}
    with pytest.raises(RecipeError, match=f"member.{name}: a name has small letters"):
        checked(fields, "recipe")


def test_costs_are_counted_against_the_first_member_whatever_a_budget_refers_to():
    planned = plan(
        read_recipe(VILLAGE, ["member.nano.of=mini", "member.nano.compute='2/5'", "member.nano.memory='2/5'"])
    )
    assert planned["nano"].compute_ratio < 0.2
    assert planned["nano"].memory_ratio < 0.1


def test_all_mistakes_are_named_at_once():
    with pytest.raises(RecipeError, match=r"seed: .*; .*sed: unknown"):
        read_recipe(VILLAGE, ["seed='x'", "sed=1"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file; see the folder recipes/"),
        (b"name = ", "is not valid TOML"),
        (b"name = '\xff'", "is not valid UTF-8 at byte 8"),
        (b"", "data: is missing"),
    ],
)
def test_a_file_that_is_no_recipe_is_told(tmp_path, content, said):
    path = tmp_path / "a.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecipeError, match=said):
        read_recipe(path)


@pytest.mark.parametrize("override", ["seed", "=1", "a..b=1", "seed.x=1"])
def test_an_override_that_is_none_is_told(override):
    with pytest.raises(RecipeError, match=f"--set {override}: "):
        read_recipe(VILLAGE, [override])


def test_overrides_are_read_as_toml_or_else_as_text():
    recipe = read_recipe(VILLAGE, ["seed=7", "name=other", "member.nano.distill.tokens=2e6"])
    assert (recipe.seed, recipe.name, recipe.member["nano"].distill.tokens) == (7, "other", 2_000_000)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_planned_members_meet_their_budgets_in_time(path):
    recipe = read_recipe(path)
    started = time.process_time()
    planned = plan(recipe)
    assert time.process_time() - started < 1
    for name, member in recipe.member.items():
        if member.shape is None:
            found = planned[name]
            assert 0.95 * member.compute <= found.compute_ratio <= member.compute
            assert 0.95 * member.memory <= found.memory_ratio <= member.memory


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_planned_members_keep_what_they_promise_to_cost(path):
    recipe = read_recipe(path)
    for name, planned in plan(recipe).items():
        promise = recipe.member[name].promise
        assert promise.compute is None or planned.compute_ratio <= promise.compute
        assert promise.memory is None or planned.memory_ratio <= promise.memory


@pytest.mark.parametrize("vocab_size", [512, 2048, 8192, 65536])
@pytest.mark.parametrize(("compute", "memory"), [(1 / 2, 1 / 4), (1 / 5, 1 / 10), (0.9, 0.9)])
def test_no_budget_is_ever_exceeded(vocab_size, compute, memory):
    recipe = read_recipe(VILLAGE, [f"tokenizer.vocab_size={vocab_size}"])
    full = plan(recipe.model_copy(update={"member": {"full": recipe.member["full"]}}))["full"].config
    budget = Budget(multiplied=int(full.multiplied * compute), parameters=int(full.parameters * memory))
    found = solve(full, full, budget)
    assert found.multiplied <= budget.multiplied
    assert found.parameters <= budget.parameters


def test_the_published_family_is_as_published():
    recipe = read_recipe(RECIPES / "published.toml")
    for name, planned in plan(recipe).items():
        said, config = recipe.member[name].published, planned.config
        assert float(f"{config.parameters:.2g}") == said.parameters
        assert abs(config.parameters / said.parameters - 1) < 0.01
        if name != recipe.first:
            assert (config.hidden_size, config.num_hidden_layers) == (said.hidden_size, said.num_hidden_layers)
            assert planned.memory_ratio <= said.memory
            assert planned.compute_ratio <= said.compute


WIDE = """{hidden_size = 512, num_hidden_layers = 12, intermediate_size = 1536, num_attention_heads = 8,
num_key_value_heads = 4, head_dim = 64, hidden_size_per_layer_input = 512}""".replace("\n", " ")


def test_rows_are_whole_blocks_where_a_budget_leaves_the_choice():
    planned = plan(read_recipe(VILLAGE, ["tokenizer.vocab_size=16384", f"member.full.shape={WIDE}"]))
    for config in (planned["mini"].config, planned["nano"].config):
        rows = config.weights_by_row()
        assert sum(weights for length, weights in rows.items() if length % 32) < 0.02 * rows.total()


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_weights_by_row_are_those_of_the_decoder(path):
    sharing = {"num_kv_shared_layers": 1, "use_double_wide_mlp": True, "global_head_dim": 48}
    for config in (planned.config for planned in plan(read_recipe(path)).values()):
        alternating = alternating_layer_types(config.num_hidden_layers, 1)
        for each in (config, replace(config, layer_types=alternating, **sharing)):
            held = skeleton(each).state_dict().values()
            rows = Counter[int]()
            for matrix in (tensor for tensor in held if tensor.dim() == 2):
                rows[matrix.shape[1]] += matrix.numel()
            assert each.weights_by_row() == rows


def test_a_budget_that_nothing_meets_is_told():
    with pytest.raises(PlanError, match=r"member\.nano: no shape has at most .* the smallest has .* a vocabulary"):
        plan(read_recipe(VILLAGE, ["member.nano.compute='1/900'"]))


@pytest.mark.parametrize("tables", [0, 64])
def test_the_smallest_shape_that_is_told_is_one_that_would_be_found(tables):
    full = replace(plan(read_recipe(VILLAGE))["full"].config, hidden_size_per_layer_input=tables)
    with pytest.raises(PlanError) as refusal:
        solve(full, full, Budget(multiplied=1, parameters=1))
    told = re.search(r"the smallest has ([\d,]+) and ([\d,]+)", str(refusal.value))
    multiplied, parameters = (int(number.replace(",", "")) for number in told.groups())
    found = solve(full, full, Budget(multiplied=multiplied * 101 // 100, parameters=parameters * 101 // 100))
    assert bool(found.hidden_size_per_layer_input) == bool(tables)
    with pytest.raises(PlanError):
        solve(full, full, Budget(multiplied=multiplied * 101 // 100, parameters=parameters * 99 // 100))


def test_a_member_larger_than_its_parent_is_told():
    shape = ", ".join(
        f"{name} = {value}"
        for name, value in {
            "hidden_size": 128,
            "num_hidden_layers": 6,
            "intermediate_size": 288,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 24,
            "hidden_size_per_layer_input": 128,
        }.items()
    )
    budgets = 'compute = "1/2"\nmemory = "1/4"\n\n[member.mini.distill]'
    assert budgets in VILLAGE.read_text()
    text = VILLAGE.read_text().replace(budgets, f"shape = {{{shape}}}\n\n[member.mini.distill]")
    with pytest.raises(PlanError, match=r"member\.mini\.shape: hidden_size is 128, larger than its parent's 96"):
        plan(checked(tomllib.loads(text), "recipe"))


def test_the_ablation_takes_the_desk_apart():
    desk, apart = (
        tomllib.loads(path.read_text()) for path in (RECIPES / "desk.toml", RECIPES.parent / "benchmarks/ablation.toml")
    )
    assert apart["data"] == desk["data"]
    assert apart["measure"]["decoding"] == desk["measure"]["decoding"]
    for name in ("mini", "nano"):
        assert apart["member"][f"{name}_cut"]["shape"] == desk["member"][name]["shape"]


def test_a_change_of_one_kind_leaves_the_others():
    changed = read_recipe(VILLAGE, ["quantize.q4_0.samples=512"]).quantize
    assert {kind: each.samples for kind, each in changed.items()} == {"q8_0": 256, "q4_0": 512}
    assert read_recipe(VILLAGE, ["quantize={}"]).quantize == {}
