"""A GGUF file says of a member what is true, holds its weights, and is whole or not there."""

import json
import os
import re
from dataclasses import replace

import gguf as library
import jinja2
import numpy as np
import pytest
import torch
from fakes import SHAPES, TINY, member, sharded
from gguf import GGMLQuantizationType, GGUFReader
from safetensors.torch import load_file

from minikin import __version__
from minikin.model.checkpoint import save
from minikin.ship import gguf
from minikin.ship.gguf import export
from minikin.ship.identity import size_label
from minikin.ship.llamacpp import LlamaCpp
from minikin.ship.types import KINDS, stored_type
from minikin.ship.weights import StoredWeights

# https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, "Validating Above Naming Convention"
CONVENTION = re.compile(
    r"^(?P<BaseName>[A-Za-z0-9\s]*(?:(?:-(?:(?:[A-Za-z\s][A-Za-z0-9\s]*)|(?:[0-9\s]*)))*))-"
    r"(?:(?P<SizeLabel>(?:\d+x)?(?:\d+\.)?\d+[A-Za-z](?:-[A-Za-z]+(\d+\.)?\d+[A-Za-z]+)?)"
    r"(?:-(?P<FineTune>[A-Za-z0-9\s-]+))?)?-(?:(?P<Version>v\d+(?:\.\d+)*))"
    r"(?:-(?P<Encoding>(?!LoRA|vocab)[\w_]+))?(?:-(?P<Type>LoRA|vocab))?(?:-(?P<Shard>\d{5}-of-\d{5}))?\.gguf$"
)
# rows that are multiples of 32, so that nothing falls back
EVEN = replace(TINY, intermediate_size=64, head_dim=16, num_attention_heads=4, hidden_size_per_layer_input=32)
CARD = (
    "---\nlicense: apache-2.0\nlanguage: [de, en, no]\ntags: [minikin]\nbase_model: village/full-1\n"
    "datasets:\n- village/stories\n---\n# nano\n"
)


def read(path):
    """Metadata and weights of a file; weights as they are stored."""
    reader = GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    return fields, {tensor.name: tensor for tensor in reader.tensors}


def test_the_file_says_what_the_member_is(tmp_path):
    folder = tmp_path / "nano"
    member(folder, replace(TINY, final_logit_softcapping=3.0))
    (folder / "README.md").write_text(CARD)
    (folder / "provenance.json").write_text(json.dumps({"recipe": "village", "parent": "mini", "minikin": "0.1"}))
    fields, weights = read(export(folder, None, "f32").path)
    expected = {
        "general.architecture": "gemma4",
        "general.name": "minikin village nano",
        "general.basename": "minikin-village-nano",
        "general.size_label": size_label(TINY.parameters),
        "general.finetune": "it",
        "general.version": "v1.0",
        "general.license": "apache-2.0",
        "general.languages": ["de", "en", "no"],
        "general.tags": ["minikin"],
        "general.base_model.count": 1,
        "general.base_model.0.name": "full-1",
        "general.base_model.0.organization": "village",
        "general.base_model.0.repo_url": "https://huggingface.co/village/full-1",
        "general.dataset.0.repo_url": "https://huggingface.co/datasets/village/stories",
        "general.quantized_by": f"minikin {__version__}",
        "general.sampling.temp": 0.0,
        "gemma4.context_length": 64,
        "gemma4.embedding_length": 32,
        "gemma4.feed_forward_length": 48,
        "gemma4.block_count": 3,
        "gemma4.attention.head_count": 4,
        "gemma4.attention.head_count_kv": 2,
        "gemma4.attention.key_length": 8,
        "gemma4.attention.value_length_swa": 8,
        "gemma4.attention.sliding_window": 5,
        "gemma4.attention.sliding_window_pattern": [True, True, False],
        "gemma4.attention.shared_kv_layers": 0,
        "gemma4.embedding_length_per_layer_input": 16,
        "gemma4.rope.dimension_count": 8,
        "gemma4.final_logit_softcapping": 3.0,
        "tokenizer.ggml.model": "gemma4",
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.eot_token_id": 5,
        "tokenizer.ggml.unknown_token_id": 3,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_space_prefix": False,
    }
    assert {name: fields.get(name) for name in expected} == expected
    assert len(fields["tokenizer.ggml.tokens"]) == 300
    assert fields["tokenizer.ggml.token_type"][:8] == [3] * 6 + [6] * 2
    assert fields["tokenizer.chat_template"] == (folder / "chat_template.jinja").read_text()
    assert weights["rope_freqs.weight"].data.tolist() == [1.0] + [np.float32(1e30)] * 3


def test_no_soft_cap_is_said_since_llama_cpp_would_assume_one(tmp_path):
    member(tmp_path)
    fields, _ = read(export(tmp_path, None, "f32").path)
    assert fields["gemma4.final_logit_softcapping"] == 0.0


def test_a_member_without_card_says_nothing_that_is_not_known(tmp_path):
    member(tmp_path / "anything 3b")
    fields, _ = read(export(tmp_path / "anything 3b", None, "f32").path)
    assert fields["general.name"] == "anything 3b"
    assert not [name for name in fields if "license" in name or "base_model" in name or "languages" in name]


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_every_file_begins_with_a_sliding_layer(config, tmp_path):
    member(tmp_path, config)
    fields, _ = read(export(tmp_path, None, "f32").path)
    assert any(fields["gemma4.attention.sliding_window_pattern"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["nano", "3b nano", "gemma_3n-E2B.it", "Häuschen 12", "7", "…"])
def test_names_follow_the_convention(name, kind, tmp_path):
    member(tmp_path / name)
    file_name = export(tmp_path / name, None, kind).path.name
    found = CONVENTION.match(file_name)
    assert found, file_name
    assert (found["SizeLabel"], found["Version"], found["Encoding"]) == (
        size_label(TINY.parameters),
        "v1.0",
        kind.upper(),
    )


def test_sizes_are_said_as_people_say_them():
    counts = {900: "1K", 45_678: "46K", 262_427: "0.3M", 7_400_000: "7.4M", 270_400_000: "270M", 5_100_000_000: "5.1B"}
    assert {count: size_label(count) for count in counts} == counts


def test_weights_are_those_of_the_member(tmp_path):
    member(tmp_path)
    _, weights = read(export(tmp_path, None, "f32").path)
    stored = load_file(tmp_path / "model.safetensors")
    assert len(weights) == len(stored) + 1
    table = stored["model.embed_tokens_per_layer.weight"]
    assert np.array_equal(weights["per_layer_token_embd.weight"].data, table.numpy())
    assert np.array_equal(
        weights["blk.1.layer_output_scale.weight"].data, stored["model.layers.1.layer_scalar"].numpy()
    )


@pytest.mark.parametrize("kind", ["f16", "bf16", "q8_0", "q4_0"])
def test_bytes_are_those_of_the_library(kind, tmp_path):
    member(tmp_path, EVEN)
    exported = export(tmp_path, None, kind)
    _, weights = read(exported.path)
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
    save(member(tmp_path).to(torch.bfloat16), tmp_path)
    _, weights = read(export(tmp_path, None, "bf16").path)
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
    assert read(exported.path)[1]["blk.0.ffn_down.weight"].tensor_type is GGMLQuantizationType.F16
    assert export(tmp_path, None, "f16").fallbacks == ()


def test_shards_make_the_same_file(tmp_path):
    member(tmp_path)
    whole = export(tmp_path, tmp_path / "whole.gguf", "q8_0").path.read_bytes()
    sharded(tmp_path)
    assert export(tmp_path, tmp_path / "shards.gguf", "q8_0").path.read_bytes() == whole


def test_a_table_passes_through_memory_by_stretches(tmp_path, monkeypatch):
    member(tmp_path, EVEN)
    whole = export(tmp_path, tmp_path / "whole.gguf", "q8_0").path.read_bytes()
    read_rows, sizes = StoredWeights.rows, []

    def counted(self, *arguments):
        found = read_rows(self, *arguments)
        sizes.append(found.size)
        return found

    monkeypatch.setattr(gguf, "CHUNK", 1000)
    monkeypatch.setattr(StoredWeights, "rows", counted)
    assert export(tmp_path, tmp_path / "parts.gguf", "q8_0").path.read_bytes() == whole
    assert max(sizes) <= 1000
    assert sum(sizes) == EVEN.parameters


def test_others_may_read_the_file(tmp_path):
    member(tmp_path)
    umask = os.umask(0o022)
    try:
        assert export(tmp_path, None, "f32").path.stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(umask)


def test_the_modelfile_frames_turns_as_the_template_does(tmp_path):
    member(tmp_path)
    exported = export(tmp_path, tmp_path / "out", "f32")
    text = exported.modelfile.read_text()
    assert text.startswith(f"FROM ./{exported.path.name}\n")
    assert text.endswith('PARAMETER stop "<turn|>"\nPARAMETER temperature 0\nPARAMETER num_ctx 64\n')
    # Go's template language, as far as it is used here, in Jinja's words
    words = {
        '{{ if eq .Role "assistant" }}': "{% if message.role == 'assistant' %}",
        "{{ else }}": "{% else %}",
        "{{ range .Messages }}": "{% for message in messages %}",
        "{{ .Role }}{{ end }}": "{{ message.role }}{% endif %}",
        "{{ .Content }}": "{{ message.content }}",
        "{{ end }}": "{% endfor %}",
    }
    template = text.split('"""')[1]
    for go, jinja in words.items():
        assert go in template
        template = template.replace(go, jinja)
    conversation = {
        "messages": [{"role": r, "content": f"{r} says\n"} for r in ("system", "user", "assistant", "user")]
    }
    environment = jinja2.Environment(keep_trailing_newline=True, autoescape=False)
    ours = environment.from_string((tmp_path / "chat_template.jinja").read_text())
    expected = ours.render(**conversation, bos_token="", add_generation_prompt=True)
    assert environment.from_string(template).render(**conversation) == expected
