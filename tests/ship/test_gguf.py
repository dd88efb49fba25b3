"""A GGUF file holds a member's weights, whatever files they come from, and little memory is needed to write it."""

import os
import subprocess
import sys
from dataclasses import replace

import gguf as library
import numpy as np
import pytest
import torch
from fakes import TINY, documents, member, tokenizer
from gguf import GGMLQuantizationType, GGUFReader, quants
from safetensors.torch import load_file

from minikin.model.checkpoint import save, save_initial
from minikin.model.scales import write_scales
from minikin.ship import gguf
from minikin.ship.gguf import export
from minikin.ship.llamacpp import LlamaCpp
from minikin.ship.names import weights_of
from minikin.ship.rounding import encoded
from minikin.ship.types import stored_type
from minikin.shrink.moments import second_moments
from minikin.shrink.quantize import put_on_grids
from minikin.text.chat import chat_template

# rows that are multiples of 32, so that nothing falls back
EVEN = replace(TINY, intermediate_size=64, head_dim=16, num_attention_heads=4, hidden_size_per_layer_input=32)


def weights_in(path):
    """Weights by name, as they are stored."""
    return {tensor.name: tensor for tensor in GGUFReader(path).tensors}


def test_weights_are_those_of_the_member(tmp_path):
    member(tmp_path)
    weights = weights_in(export(tmp_path, None, "f32").path)
    stored = load_file(tmp_path / "model.safetensors")
    assert len(weights) == len(stored) + 1
    table = stored["model.embed_tokens_per_layer.weight"]
    assert np.array_equal(weights["per_layer_token_embd.weight"].data, table.numpy())
    assert np.array_equal(
        weights["blk.1.layer_output_scale.weight"].data, stored["model.layers.1.layer_scalar"].numpy()
    )


def test_channels_that_full_attention_leaves_still_turn_endlessly_slowly(tmp_path):
    member(tmp_path)
    weights = weights_in(export(tmp_path, None, "f32").path)
    assert weights["rope_freqs.weight"].data.tolist() == [1.0] + [np.float32(1e30)] * 3


@pytest.mark.parametrize("kind", ["f16", "bf16", "q8_0", "q4_0"])
def test_bytes_are_those_of_the_library(kind, tmp_path):
    member(tmp_path, EVEN)
    exported = export(tmp_path, None, kind)
    weights = weights_in(exported.path)
    stored = load_file(tmp_path / "model.safetensors")
    for source, target in {
        "embed_tokens_per_layer.weight": "per_layer_token_embd.weight",
        "layers.1.mlp.up_proj.weight": "blk.1.ffn_up.weight",
        "layers.1.per_layer_input_gate.weight": "blk.1.inp_gate.weight",
    }.items():
        tensor = stored[f"model.{source}"].numpy()
        type_ = stored_type(source, tensor.shape, kind)
        assert weights[target].tensor_type == type_
        assert weights[target].data.tobytes() == library.quantize(tensor, type_).tobytes()
    assert not exported.fallbacks
    assert exported.bytes == exported.path.stat().st_size
    with LlamaCpp(exported.path, context=256) as engine:
        assert len(engine.greedy([2, 9], 3)) == 3


def test_half_precision_members_lose_nothing(tmp_path):
    save(member(tmp_path).bfloat16(), tmp_path)
    weights = weights_in(export(tmp_path, None, "bf16").path)
    tensor = load_file(tmp_path / "model.safetensors")["model.layers.0.mlp.up_proj.weight"]
    assert weights["blk.0.ffn_up.weight"].data.tobytes() == tensor.view(torch.int16).numpy().tobytes()
    scale = load_file(tmp_path / "model.safetensors")["model.norm.weight"]
    assert np.array_equal(weights["output_norm.weight"].data, scale.float().numpy())


def test_a_file_of_four_bits_keeps_what_is_sensitive_at_eight():
    shape, four, eight = (64, 64), GGMLQuantizationType.Q4_0, GGMLQuantizationType.Q8_0
    for name in ("layers.0.mlp.up_proj", "layers.0.mlp.down_proj", "embed_tokens_per_layer"):
        assert stored_type(f"model.{name}.weight", shape, "q4_0") is four
    for name in ("embed_tokens", "layers.0.self_attn.o_proj", "layers.0.per_layer_input_gate"):
        assert stored_type(f"model.{name}.weight", shape, "q4_0") is eight
    for name in ("layers.0.per_layer_projection", "per_layer_model_projection"):
        assert stored_type(f"model.{name}.weight", shape, "q4_0") is eight
    assert stored_type("model.per_layer_projection_norm.weight", (64,), "q4_0") is GGMLQuantizationType.F32


def test_rows_that_make_no_blocks_are_told_of(tmp_path):
    member(tmp_path)
    exported = export(tmp_path, None, "q8_0")
    assert "blk.0.ffn_down.weight: rows of 48 are no multiple of 32, F16 instead of Q8_0" in exported.fallbacks
    assert not any("ffn_up" in line for line in exported.fallbacks)
    assert weights_in(exported.path)["blk.0.ffn_down.weight"].tensor_type is GGMLQuantizationType.F16
    assert export(tmp_path, None, "f16").fallbacks == ()


def test_shards_make_the_same_file(tmp_path):
    decoder = member(tmp_path)
    whole = export(tmp_path, tmp_path / "whole.gguf", "q8_0").path.read_bytes()
    save(decoder, tmp_path, shard_bytes=10_000)
    (tmp_path / "model.safetensors").unlink()
    assert export(tmp_path, tmp_path / "shards.gguf", "q8_0").path.read_bytes() == whole


def test_a_table_passes_through_memory_by_stretches(tmp_path, monkeypatch):
    member(tmp_path, EVEN)
    whole = export(tmp_path, tmp_path / "whole.gguf", "q8_0").path.read_bytes()
    sizes = []

    def counted(rows, type_, scales):
        sizes.append(rows.size)
        return encoded(rows, type_, scales)

    monkeypatch.setattr(gguf, "CHUNK", 1000)
    monkeypatch.setattr(gguf, "encoded", counted)
    assert export(tmp_path, tmp_path / "parts.gguf", "q8_0").path.read_bytes() == whole
    assert max(sizes) <= 1000
    assert sum(sizes) == EVEN.parameters


def test_exporting_a_large_table_holds_little_memory(tmp_path):
    large = replace(TINY, vocab_size=20_000, hidden_size_per_layer_input=1024)  # a table of 123 MB
    save_initial(large, tmp_path, torch.bfloat16, 1, lambda _: None)
    tokenizer(300).save(tmp_path, 64, chat_template())
    # pages of a mapped file are the system's, which takes them back when memory is short: they are not counted
    code = f"""
from pathlib import Path
from minikin.ship import gguf
def held():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))
peak, encoded = [], gguf.encoded
gguf.encoded = lambda *arguments: (peak.append(held()), encoded(*arguments))[1]
folder = Path({str(tmp_path)!r})
gguf.export(folder, None, "bf16")
before = held()
gguf.export(folder, None, "bf16")
print(max(peak) - before)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(run.stdout) * 1024 < 20_000 * 3 * 1024 * 2 / 4


def test_others_may_read_the_file(tmp_path):
    member(tmp_path)
    umask = os.umask(0o022)
    try:
        assert export(tmp_path, None, "f32").path.stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(umask)


@pytest.mark.parametrize(("kind", "bits"), [("q8_0", 8), ("q4_0", 4)])
def test_weights_on_a_grid_are_in_the_file_as_they_are(kind, bits, tmp_path):
    decoder, ready = member(tmp_path / "member", EVEN), tmp_path / "ready"
    with torch.no_grad():
        decoder.layers[0].mlp.up_proj.weight[3, :32] = 0
    on_grid = {
        name: {GGMLQuantizationType.Q4_0: 4, GGMLQuantizationType.Q8_0: 8}[type_]
        for name, tensor in decoder.state_dict().items()
        if (type_ := stored_type(f"model.{name}", tensor.shape, kind)) is not GGMLQuantizationType.F32
    }
    moments = second_moments(decoder, [documents(4, 16, EVEN)])
    scales = put_on_grids(decoder, on_grid, moments)
    assert bits == 8 or any((scale < 0).any() for scale in scales.values())
    ready.mkdir()
    save(decoder, ready)
    write_scales(ready, scales, kind)
    found = weights_in(export(tmp_path / "member", tmp_path / "file.gguf", kind, ready).path)
    for weight in weights_of(decoder, {}):
        read = found[weight.target]
        assert np.array_equal(quants.dequantize(read.data, read.tensor_type), weight.tensor.numpy())
    rounded = weights_in(export(tmp_path / "member", None, kind).path)
    assert any(rounded[name].data.tobytes() != found[name].data.tobytes() for name in found)
