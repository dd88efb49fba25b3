"""A family that begins with somebody's checkpoint: with its own tokenizer, then cut and distilled."""

import io
import json
import tomllib
from pathlib import Path

import fakes
import pytest
import tokenizers
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma4ForCausalLM, Gemma4TextConfig

from minikin.base.errors import CheckpointError, DataError, MinikinError, PlanError, RecipeError, TokenizerError
from minikin.base.log import Log
from minikin.family.build import build, evaluate
from minikin.family.plan import plan
from minikin.family.reading import checked, read_recipe
from minikin.model.checkpoint import load, read_config
from minikin.text.tokenizer import SPECIALS, Tokenizer

SLIDING, FULL = "sliding_attention", "full_attention"
DATA = """
[data.translation]
train = ["village:200"]
test = ["village:8"]
both_directions = true
"""
RECIPE = """
name = "theirs"
threads = 1
[data]
sequence_length = 64
{data}
[measure]
max_examples = 4
max_new_tokens = 4
resamples = 20
[member.full]
from = "{origin}"
[member.mini]
parent = "full"
compute = "2/3"
memory = "1/2"
[member.mini.distill]
tokens = 4096
batch_tokens = 512
importance_samples = 16
"""


def foreign_tokenizer() -> tokenizers.Tokenizer:
    """Ours, with the special tokens at other ids, as every tokenizer has its own."""
    fields = json.loads(fakes.tokenizer()._inner.to_str())
    pieces = sorted(fields["model"]["vocab"], key=fields["model"]["vocab"].__getitem__)
    moved = [*SPECIALS[:3], *pieces[len(SPECIALS) :], *SPECIALS[3:]]
    fields["model"]["vocab"] = {piece: index for index, piece in enumerate(moved)}
    for added in fields["added_tokens"]:
        added["id"] = moved.index(added["content"])
    return tokenizers.Tokenizer.from_str(json.dumps(fields))


@pytest.fixture(scope="module")
def origin(tmp_path_factory) -> Path:
    """Shared keys, wide heads, a soft cap, bfloat16, several files: what is not so in members of our own."""
    folder = tmp_path_factory.mktemp("origin")
    tokenizer = foreign_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = Gemma4TextConfig(
        vocab_size=tokenizer.get_vocab_size() + 4,
        vocab_size_per_layer_input=tokenizer.get_vocab_size() + 4,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=8,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        global_head_dim=16,
        hidden_size_per_layer_input=32,
        layer_types=[SLIDING, FULL] * 4,
        num_kv_shared_layers=4,
        use_double_wide_mlp=True,
        sliding_window=16,
        final_logit_softcapping=30.0,
        max_position_embeddings=256,
    )
    torch.manual_seed(5)
    Gemma4ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder, max_shard_size="100KB")
    assert (folder / "model.safetensors.index.json").is_file()
    return folder


def recipe_of(origin, **changes):
    fields = tomllib.loads(RECIPE.format(data=DATA, origin=origin))
    return checked(fields | changes, "recipe")


def quiet(folder):
    return Log(folder / "log.jsonl", Console(file=io.StringIO()))


@pytest.fixture(scope="module")
def family(origin, tmp_path_factory):
    folder = tmp_path_factory.mktemp("family")
    build(recipe_of(origin), folder, quiet(folder))
    return folder


@torch.no_grad()
def test_the_first_member_is_the_checkpoint(origin, family):
    theirs = AutoModelForCausalLM.from_pretrained(origin, dtype=torch.float32)
    ours = AutoModelForCausalLM.from_pretrained(family / "full", dtype=torch.float32)
    tokens = torch.randint(6, 400, (2, 30))
    assert torch.equal(theirs(tokens).logits, ours(tokens).logits)
    decoder = load(family / "full")
    hidden = decoder(tokens, torch.arange(30).expand(2, -1), torch.zeros_like(tokens))
    torch.testing.assert_close(decoder.logits(hidden), theirs(tokens).logits, atol=1e-4, rtol=1e-4)


def test_the_family_speaks_through_the_checkpoints_tokenizer(origin, family):
    text = "Der Mann geht in den Wald. 12 Äpfel!"
    ids = tokenizers.Tokenizer.from_file(str(origin / "tokenizer.json")).encode(text).ids
    for name in ("full", "mini"):
        ours, config = Tokenizer.load(family / name), read_config(family / name)
        assert ours.encode(text) == ids
        assert AutoTokenizer.from_pretrained(family / name).encode(text, add_special_tokens=False) == ids
        assert config.bos_token_id == ours.bos_id == 2
        assert set(config.eos_token_ids) == {ours.eos_id, ours.turn_end_id}
        assert ours.turn_end_id > 6


def test_the_smaller_member_keeps_the_checkpoints_kind(family):
    full, mini = read_config(family / "full"), read_config(family / "mini")
    assert mini.multiplied < full.multiplied
    assert (mini.global_head_dim, mini.final_logit_softcapping) == (16, 30.0)
    assert 0 < mini.num_kv_shared_layers < full.num_kv_shared_layers
    assert mini.use_double_wide_mlp
    AutoModelForCausalLM.from_pretrained(family / "mini")
    facts = json.loads((family / "mini" / "provenance.json").read_text())
    assert (facts["parent"], facts["teacher"]) == ("full", "full")


def test_cards_tell_lineage_and_scores(origin, family):
    full, mini = ((family / name / "README.md").read_text() for name in ("full", "mini"))
    assert f"Taken from `{origin.name}`, as it was." in full
    assert "Cut from `full` and distilled from `full`" in mini
    assert "library_name: transformers" in mini
    assert "model-index:" in mini
    assert "| translation | bleu |" in mini


def test_a_built_family_can_be_evaluated_again(family):
    fields = json.loads((family / "recipe.json").read_text())
    report = evaluate(checked(fields, "recipe.json"), family, quiet(family))
    assert report.members["full"].training.tokens == 0
    assert report.members["full"].training.objective.startswith("taken from ")


def test_a_checkpoint_can_be_trained_on(origin, tmp_path):
    fields = tomllib.loads(RECIPE.format(data=DATA, origin=origin))["member"]["full"]
    member = {"full": fields | {"train": {"tokens": 2048, "batch_tokens": 512}}}
    report = build(recipe_of(origin, member=member), tmp_path, quiet(tmp_path))
    assert report.members["full"].training.tokens > 0
    changed, before = load(tmp_path / "full"), load(origin)
    assert not torch.equal(changed.embed_tokens.weight, before.embed_tokens.weight.float())


def without_turns(folder):
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace("<|turn>", "<|other>"))


COMPLAINTS = {
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), TokenizerError, "has no tokenizer.json"),
    "no turns": (without_turns, TokenizerError, "tokenizer.json: tokenizer: has no <|turn>; Gemma 4's special tokens"),
    "a small vocabulary": (
        lambda f: (f / "config.json").write_text((f / "config.json").read_text().replace('_size": 424', '_size": 400')),
        CheckpointError,
        "its tokenizer has 420 entries, its vocab_size is 400",
    ),
}


@pytest.mark.parametrize(("damage", "kind", "said"), COMPLAINTS.values(), ids=COMPLAINTS)
def test_a_checkpoint_that_is_not_whole_is_refused(origin, tmp_path, damage, kind, said):
    for file in origin.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    damage(tmp_path)
    with pytest.raises(kind) as refusal:
        plan(recipe_of(tmp_path))
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("name", "kind"), [("no/such/folder", CheckpointError), ("nobody/nothing-at-all", DataError)])
def test_a_checkpoint_that_is_nowhere_is_told(name, kind, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(kind, match=f"{name}: no such folder") as refusal:
        plan(recipe_of(name))
    assert isinstance(refusal.value, MinikinError)


def test_a_shape_that_the_checkpoint_cannot_fill_is_told(origin):
    fields = tomllib.loads(RECIPE.format(data=DATA, origin=origin))["member"]
    fields["mini"] = {key: value for key, value in fields["mini"].items() if key not in ("compute", "memory")}
    fields["mini"]["shape"] = {
        "hidden_size": 64,
        "num_hidden_layers": 7,
        "intermediate_size": 96,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "hidden_size_per_layer_input": 32,
        "sliding_per_full": 6,
    }
    with pytest.raises(PlanError, match=r"member\.mini\.shape: of the parent's layers no 7 can be kept"):
        plan(recipe_of(origin, member=fields))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("member.full.from='x/y'", "member.full: from and shape: a checkpoint brings shape and weights"),
        ("member.full.form='x/y'", "member.full.form: unknown field; did you mean 'from'?"),
    ],
)
def test_a_contradiction_is_told(override, said):
    with pytest.raises(RecipeError) as refusal:
        read_recipe(Path(__file__).parents[2] / "recipes" / "village.toml", [override])
    assert said in str(refusal.value)


def test_only_the_first_member_can_be_a_checkpoint(origin):
    fields = tomllib.loads(RECIPE.format(data=DATA, origin=origin))
    for changed in (
        fields | {"tokenizer": {"vocab_size": 512}},
        fields | {"member": fields["member"] | {"other": {"from": str(origin)}}},
    ):
        with pytest.raises(RecipeError, match=r"only the first member, 'full', can be|tokenizer: the checkpoint of"):
            checked(changed, "recipe")
