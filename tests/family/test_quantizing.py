"""Members of few bits are members: made from the whole one, examined, taught, and exported as they were examined."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from fakes import minikin, site
from gguf import GGUFReader, quants

from minikin.base.errors import CheckpointError
from minikin.family.build import build, evaluate_on
from minikin.family.quantizing import weights_of_kind
from minikin.measure.report import read_report
from minikin.model.checkpoint import load, read_config
from minikin.model.huggingface import stored_name
from minikin.model.scales import read_scales
from minikin.ship.check import check
from minikin.ship.identity import read_identity

SMALL = (
    "threads=1",
    "member.full.shape={hidden_size = 64, num_hidden_layers = 2, intermediate_size = 96, num_attention_heads = 2, "
    "num_key_value_heads = 1, head_dim = 32, hidden_size_per_layer_input = 32}",
    "member.full.train={tokens = 4096, batch_tokens = 512, candidates = 0}",
    "member.mini={parent = 'full', compute = '9/10'}",
    "member.nano={parent = 'mini', compute = '9/10'}",
    "measure={max_examples = 3, max_new_tokens = 4, resamples = 20}",
)
TAUGHT = "quantize={q8_0 = {samples = 8}, q4_0 = {samples = 8, distill = {tokens = 2048, batch_tokens = 512}}}"


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    root = tmp_path_factory.mktemp("few") / "bits"
    given = site(root, *SMALL, TAUGHT)
    build(given.recipe, root, given.log)
    return root


def weights(folder):
    return load(folder).state_dict()


def test_a_member_of_few_bits_is_a_member_on_its_grid(family):
    for kind in ("q8_0", "q4_0"):
        folder = family / "quantized" / "full" / kind
        held = {stored_name(name): tensor for name, tensor in weights(folder).items()}
        scales = read_scales(folder, kind)
        assert scales
        for name, scale in scales.items():
            blocks = held[name].view(*scale.shape, 32)
            numbers = blocks / torch.where(scale == 0, 1.0, scale)[..., None]
            assert torch.equal(numbers.round() * scale[..., None], blocks)
        own = weights(family / "full")
        assert any(not torch.equal(held[stored_name(name)], tensor) for name, tensor in own.items())
        assert (folder / "tokenizer.json").read_bytes() == (family / "full" / "tokenizer.json").read_bytes()


def test_the_report_says_what_each_kind_takes_and_keeps(family):
    for name, found in read_report(family).members.items():
        assert found.precisions.keys() == {"q8_0", "q4_0"}
        small, smaller = (found.precisions[kind].bytes for kind in ("q8_0", "q4_0"))
        assert smaller < small < found.efficiency.file_bytes / 2
        facts = json.loads((family / "quantized" / name / "q4_0" / "provenance.json").read_text())
        assert facts["steps"] == 4
        config = read_config(family / name)
        assert facts["training_flops"] == 4 * 512 * (config.training_flops_per_token() + config.flops_per_token())
        assert facts["of"] == json.loads((family / name / "provenance.json").read_text())["key"]


def test_its_file_holds_what_was_examined(family, tmp_path, capsys, monkeypatch):
    words = ("export", "gguf", family / "full", "--type", "q4_0", "--out", tmp_path / "file.gguf")
    status, _, progress = minikin(capsys, monkeypatch, *words)
    assert status == 0, progress
    assert f"from {family / 'quantized' / 'full' / 'q4_0'}" in " ".join(progress.split())
    read = {tensor.name: tensor for tensor in GGUFReader(tmp_path / "file.gguf").tensors}
    held = weights(family / "quantized" / "full" / "q4_0")
    for ours, theirs in (
        ("embed_tokens.weight", "token_embd.weight"),
        ("tables.embed_tokens_per_layer.weight", "per_layer_token_embd.weight"),
        ("layers.1.mlp.down_proj.weight", "blk.1.ffn_down.weight"),
    ):
        found = quants.dequantize(read[theirs].data, read[theirs].tensor_type)
        assert np.array_equal(found, held[ours].float().numpy())


def test_a_member_of_few_bits_has_a_card_as_others_have(family):
    card = (family / "quantized" / "mini" / "q4_0" / "README.md").read_text()
    recipe = json.loads((family / "recipe.json").read_text())["name"]
    assert f"# {recipe} mini q4_0\n" in card
    assert "`mini` with its weights on the grids of a q4_0 file and distilled there from `mini`, 2,048 tokens" in card
    assert "`minikin export gguf . --type q4_0` writes the same weights in " in card
    assert "| task | metric | score, 95 % interval | keeps of `mini` | n |" in card
    assert re.search(r"^\| translation \| bleu \| \d+\.\d \[\d+\.\d, \d+\.\d\] \| .* \| 3 \|$", card, re.MULTILINE)
    rounded = (family / "quantized" / "mini" / "q8_0" / "README.md").read_text()
    assert "`mini` with its weights on the grids of a q8_0 file, as it was." in rounded
    assert "Trained on" not in rounded


@pytest.mark.parametrize("kind", ["q8_0", "q4_0"])
def test_a_member_of_few_bits_is_at_home_everywhere(family, kind):
    folder = family / "quantized" / "mini" / kind
    assert {(each.where, each.what): each.found for each in check(folder) if each.verdict != "passed"} == {}


def test_a_member_of_few_bits_is_named_after_the_member_and_the_kind(family):
    identity = read_identity(family / "quantized" / "mini" / "q4_0", 10**5, chats=True)
    assert identity.name.endswith(" mini q4_0")
    assert [base.name for base in identity.base_models] == [identity.name.removesuffix(" q4_0")]


def test_only_what_changed_is_made_again(family, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(family, copy)
    given = site(copy, *SMALL, TAUGHT.replace("2048", "1024"))
    made = {path: path.stat().st_mtime_ns for path in copy.rglob("provenance.json")}
    build(given.recipe, copy, given.log)
    changed = {str(path.parent.relative_to(copy)) for path, when in made.items() if path.stat().st_mtime_ns != when}
    names = ("full", "mini", "nano")
    assert changed == {f"quantized/{name}/q4_0" for name in names} | {f"answers/{name}.q4_0" for name in names}


def test_weights_of_another_build_are_not_taken(family, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(family, copy)
    assert weights_of_kind(copy / "mini", "q4_0") == copy / "quantized" / "mini" / "q4_0"
    assert weights_of_kind(copy / "mini", "f16") is None
    path = copy / "mini" / "provenance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"key": "another"}))
    assert weights_of_kind(copy / "mini", "q4_0") is None


def test_a_kind_that_was_not_built_is_told_before_an_evaluation(family, tmp_path):
    copy, test = tmp_path / "copy", tmp_path / "test.jsonl"
    shutil.copytree(family, copy)
    shutil.rmtree(copy / "quantized" / "nano" / "q8_0")
    test.write_text(json.dumps({"document": "One. Two.", "summary": "One."}) + "\n")
    given = site(copy, *SMALL, TAUGHT)
    with pytest.raises(CheckpointError, match="q8_0: is not built yet"):
        evaluate_on(given.recipe, copy, [test], tmp_path / "out", given.log)
