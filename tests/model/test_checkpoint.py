"""Members on disk: saved = loaded, ours = Transformers', and what cannot be read is refused by name."""

import json
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from fakes import SHAPES, TINY, decoder_of
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    Gemma4Config,
    Gemma4ForCausalLM,
    Gemma4ForConditionalGeneration,
    Gemma4TextConfig,
)

from minikin.base.errors import CheckpointError
from minikin.model.checkpoint import in_memory, load, read_config, save, save_initial
from minikin.model.decoder import Decoder
from minikin.model.shards import RowFile, mapped_weights, weight_files

every_shape = pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
SLIDING, FULL = "sliding_attention", "full_attention"

# what Transformers can make of Gemma 4's text model and we can read
THEIRS = {
    "plain": {},
    "mixed layers": {"num_hidden_layers": 5, "layer_types": [SLIDING, FULL, SLIDING, SLIDING, FULL]},
    "wide heads": {"global_head_dim": 16},
    "shared keys": {
        "num_hidden_layers": 6,
        "layer_types": [SLIDING, FULL] * 3,
        "num_kv_shared_layers": 3,
        "global_head_dim": 16,
    },
    "double wide": {
        "num_hidden_layers": 4,
        "layer_types": [SLIDING, FULL] * 2,
        "num_kv_shared_layers": 2,
        "use_double_wide_mlp": True,
    },
    "small table": {"vocab_size_per_layer_input": 250},
    "large table": {"vocab_size_per_layer_input": 320},
    "no tables": {"hidden_size_per_layer_input": 0},
    "soft cap": {"final_logit_softcapping": 3.0},
}


def theirs(folder, dtype=torch.float32, shard="50GB", **fields):
    """A random checkpoint that Transformers wrote."""
    base = {
        "vocab_size": 300,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "global_head_dim": 8,
        "hidden_size_per_layer_input": 16,
        "vocab_size_per_layer_input": 300,
        "layer_types": [SLIDING, SLIDING, FULL],
        "sliding_window": 5,
        "max_position_embeddings": 64,
    }
    torch.manual_seed(3)
    model = Gemma4ForCausalLM(Gemma4TextConfig(**base | fields))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def unwatched(_):
    """Nobody waits for it."""


def logits(decoder: Decoder, tokens):
    hidden = decoder(tokens, torch.arange(tokens.shape[1]).expand_as(tokens), torch.zeros_like(tokens))
    return decoder.logits(hidden)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("fields", THEIRS.values(), ids=THEIRS)
@torch.no_grad()
def test_a_checkpoint_of_transformers_computes_the_same_here(fields, dtype, tmp_path):
    model = theirs(tmp_path, dtype, shard="20KB", **fields)
    assert len(weight_files(tmp_path)) > 1
    decoder, tokens = load(tmp_path).eval(), torch.randint(6, 250, (2, 40))
    torch.testing.assert_close(logits(decoder, tokens), model(tokens).logits, atol=1e-4, rtol=1e-5)


@torch.no_grad()
def test_of_a_model_that_sees_the_language_model_is_taken(tmp_path):
    text = {**THEIRS["shared keys"], "vocab_size": 300, "vocab_size_per_layer_input": 300, "hidden_size": 32}
    text |= {"intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    text |= {"hidden_size_per_layer_input": 16, "sliding_window": 5, "use_bidirectional_attention": "vision"}
    torch.manual_seed(3)
    sees = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sees |= {"num_key_value_heads": 2, "head_dim": 8, "position_embedding_size": 16}
    ids = {"image_token_id": 290, "boi_token_id": 291, "eoi_token_id": 292}
    model = Gemma4ForConditionalGeneration(
        Gemma4Config(text_config=text, vision_config=sees, audio_config=None, **ids)
    ).eval()
    model.save_pretrained(tmp_path)
    tokens = torch.randint(6, 250, (2, 20))
    torch.testing.assert_close(
        logits(load(tmp_path).eval(), tokens), model(input_ids=tokens).logits, atol=1e-4, rtol=1e-5
    )


@torch.no_grad()
def test_tokens_beyond_the_table_take_the_row_of_the_padding(tmp_path):
    theirs(tmp_path, vocab_size_per_layer_input=250)
    decoder, tokens = load(tmp_path).eval(), torch.tensor([[2, 290, 7]])
    _, offered = decoder.embedded(tokens)
    weights = decoder.tables.embed_tokens_per_layer.weight
    beyond, padding = decoder.tables(tokens, torch.zeros(1, 3, 32))[0][0, 1], weights[0, :16] * 16**0.5 / 2**0.5
    torch.testing.assert_close(beyond, padding)
    assert offered[0].shape == (1, 3, 16)


@every_shape
def test_a_saved_member_is_the_same_when_loaded(config, tmp_path):
    decoder = decoder_of(config)
    save(decoder, tmp_path)
    assert read_config(tmp_path) == config
    for name, tensor in load(tmp_path).state_dict().items():
        assert torch.equal(tensor, decoder.state_dict()[name]), name


@every_shape
@pytest.mark.usefixtures("large_tables")
@torch.no_grad()
def test_weights_in_their_file_compute_what_weights_in_memory_do(config, tmp_path):
    save_initial(config, tmp_path, torch.bfloat16, 1, unwatched)
    tokens = torch.randint(6, 300, (2, 30))
    mapped = logits(load(tmp_path), tokens)
    assert mapped.dtype == torch.float32
    # a head of float32 is one product, not one a part: another order of sums
    torch.testing.assert_close(mapped, logits(in_memory(load(tmp_path)), tokens), atol=1e-6, rtol=1e-5)


def test_many_files_hold_what_one_does(tmp_path):
    for name, size in (("one", 1 << 30), ("many", 10_000)):
        (tmp_path / name).mkdir()
        save(decoder_of(), tmp_path / name, shard_bytes=size)
    assert [path.name for path in weight_files(tmp_path / "one")] == ["model.safetensors"]
    assert len(weight_files(tmp_path / "many")) > 3
    one, many = (mapped_weights(tmp_path / name) for name in ("one", "many"))
    assert one.keys() == many.keys()
    assert all(torch.equal(one[name], many[name]) for name in one)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "many")
    assert torch.equal(model.model.norm.weight, one["model.norm.weight"])


def test_the_library_reads_what_is_written_here(tmp_path):
    save(decoder_of(), tmp_path)
    ours, library = mapped_weights(tmp_path), load_file(tmp_path / "model.safetensors")
    assert ours.keys() == library.keys()
    assert all(torch.equal(ours[name], library[name]) for name in ours)


def test_files_can_be_read_by_whom_the_umask_lets(tmp_path):
    save(decoder_of(), tmp_path)
    (tmp_path / "other").touch()
    assert (tmp_path / "model.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


@every_shape
def test_initial_weights_are_drawn_as_gemma_draws_them(config, tmp_path):
    save_initial(config, tmp_path, torch.float32, 1, unwatched)
    assert read_config(tmp_path) == config
    for name, parameter in load(tmp_path).named_parameters():
        if parameter.ndim > 1:
            assert abs(parameter.std().item() - 0.02) < 0.004, name
        else:
            assert torch.equal(parameter, torch.ones_like(parameter)), name


def test_initial_weights_follow_their_seed(tmp_path):
    found = []
    for place, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(place)
        folder.mkdir()
        save_initial(TINY, folder, torch.bfloat16, seed, unwatched)
        found.append((folder / "model.safetensors").read_bytes())
    assert found[0] == found[1] != found[2]


def test_a_large_table_costs_no_memory_but_for_the_rows_read(tmp_path):
    # a table of 492 MB; of PyTorch's code alone, up to 80 MB become resident on the way
    large = replace(TINY, vocab_size=20_000, hidden_size_per_layer_input=4096)
    code = f"""
import torch
from pathlib import Path
from minikin.model.checkpoint import load, save_initial
from minikin.model.config import Config
from minikin.model.generate import generate
from minikin.base.memory import peak_bytes as peak
torch.set_num_threads(1)
torch.randn(8, 8) @ torch.randn(8, 8)
before = peak()
save_initial({large!r}, Path({str(tmp_path)!r}), torch.bfloat16, 1, lambda _: None)
written = peak() - before
generate(load(Path({str(tmp_path)!r})), [list(range(20))], 20)
print(written, peak() - before)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    written, generated = map(int, run.stdout.split())
    table = 20_000 * 3 * 4096 * 2
    assert (tmp_path / "model.safetensors").stat().st_size > table
    assert written < table / 2
    assert generated < table / 2


def test_training_a_loaded_member_changes_no_file(tmp_path):
    save_initial(TINY, tmp_path, torch.bfloat16, 1, unwatched)
    before = (tmp_path / "model.safetensors").read_bytes()
    decoder = in_memory(load(tmp_path))
    assert decoder.tables.embed_tokens_per_layer.weight.dtype == torch.bfloat16
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(1)
    assert (tmp_path / "model.safetensors").read_bytes() == before


def _change(folder, **fields):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def _without(folder, name):
    path = folder / "config.json"
    fields = json.loads(path.read_text())
    del fields[name]
    path.write_text(json.dumps(fields))


def _cut_short(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-50])


def _pickled(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04\x95cposix\nsystem\n.")


def _renamed(folder):
    weights = load_file(folder / "model.safetensors")
    renamed = {name.replace("model.", "transformer."): tensor for name, tensor in weights.items()}
    save_file(renamed, folder / "model.safetensors")


def _eight_bits(folder):
    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor.to(torch.float8_e4m3fn) for name, tensor in weights.items()}, folder / "model.safetensors")


def _index(text):
    return lambda folder: (folder / "model.safetensors.index.json").write_text(text)


def _outer(**fields):
    def change(folder):
        path = folder / "config.json"
        text = json.loads(path.read_text())
        path.write_text(json.dumps({"model_type": "gemma4", "text_config": text} | fields))

    return change


def _rope(**full):
    return lambda f: _change(f, rope_parameters={SLIDING: {"rope_theta": 1e4}, FULL: {"rope_theta": 1e6, **full}})


COMPLAINTS = {
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "has no model.safetensors; build or fetch it again"),
    "no configuration": (lambda f: (f / "config.json").unlink(), "has no config.json; this is not a member's folder"),
    "cut short": (_cut_short, "model.safetensors: is damaged"),
    "empty": (lambda f: (f / "model.safetensors").write_bytes(b""), "model.safetensors: is damaged"),
    "a pickle": (_pickled, "only pytorch_model.bin, a pickle, which is never opened; save it as safetensors"),
    "a pickle by another name": (
        lambda f: (f / "model.safetensors").write_bytes(b"\x80\x04\x95cposix\nsystem\n."),
        "is damaged",
    ),
    "another's weights": (
        _renamed,
        "the weights lack model.embed_tokens.weight; weights and config.json do not belong",
    ),
    "eight bits": (_eight_bits, "is of type torch.float8_e4m3fn; only F32, BF16, F16 are read"),
    "a foreign index": (_index('{"weight_map": {"a": "../other/model.safetensors"}}'), "not a file of this folder"),
    "a damaged index": (_index("{"), "index.json: is damaged"),
    "a missing shard": (_index('{"weight_map": {"a": "gone.safetensors"}}'), "has no gone.safetensors"),
    "broken JSON": (lambda f: (f / "config.json").write_text("{"), "config.json: is not valid JSON"),
    "another model": (
        lambda f: _change(f, model_type="llama"),
        "model_type is 'llama'; only 'gemma4_text' and 'gemma4' can be read",
    ),
    "experts": (lambda f: _change(f, enable_moe_block=True), "enable_moe_block = True is not supported"),
    "keys as values": (lambda f: _change(f, attention_k_eq_v=True), "attention_k_eq_v = True is not supported"),
    "unknown": (lambda f: _change(f, memory_layers=3), "memory_layers = 3 is not known"),
    "quantized": (
        lambda f: _change(f, quantization_config={"bits": 4}),
        "quantization_config = {'bits': 4} is not known",
    ),
    "another rotation": (
        lambda f: _change(
            f,
            rope_parameters={
                SLIDING: {"rope_type": "yarn", "rope_theta": 1e4},
                FULL: {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6},
            },
        ),
        "rope_parameters.sliding_attention.rope_type = 'yarn' is not supported",
    ),
    "a layer of another shape": (
        lambda f: _change(f, per_layer_config={"2": {"head_dim": 8}, "0": {"intermediate_size": 24}}),
        "per_layer_config.0 = {'intermediate_size': 24} is not supported",
    ),
    "a text for a number": (lambda f: _change(f, hidden_size="32"), "is of another type than Gemma 4's"),
    "no rotation": (lambda f: _change(f, rope_parameters=None), "is of another type than Gemma 4's"),
    "a field missing": (lambda f: _without(f, "sliding_window"), "lacks 'sliding_window'"),
    "another width": (lambda f: _change(f, intermediate_size=40), "config.json asks for (40, 32)"),
    "fewer layers": (lambda f: _change(f, num_hidden_layers=2), "3 layer_types for 2 layers"),
    "an untied head": (_outer(tie_word_embeddings=False), "tie_word_embeddings = False is not supported"),
    "no text": (_outer(text_config=None), "model_type is 'gemma4'"),
    "a list": (lambda f: (f / "config.json").write_text("[]"), "holds no JSON object"),
    "unsaid rotation": (_rope(partial_rotary_factor=0.25), "rope_parameters.full_attention lacks 'rope_type'"),
    "no window": (lambda f: _change(f, sliding_window=None), "sliding_window = None is of another type"),
    "a window of nothing": (lambda f: _change(f, sliding_window=0), "sizes must be positive"),
    "half a width": (lambda f: _change(f, hidden_size=32.0), "hidden_size = 32.0 is of another type"),
    "a negative table": (lambda f: _change(f, hidden_size_per_layer_input=-8), "must not be negative"),
    "no end": (lambda f: _change(f, eos_token_id=None), "are no token ids"),
}


@pytest.mark.parametrize(("damage", "said"), COMPLAINTS.values(), ids=COMPLAINTS)
def test_a_damaged_member_is_refused_by_name(damage, said, tmp_path):
    save(decoder_of(), tmp_path)
    damage(tmp_path)
    with pytest.raises(CheckpointError) as refusal:
        load(tmp_path)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.fixture
def large_tables(monkeypatch):
    """All tables are as large as those that stay in their files."""
    monkeypatch.setattr("minikin.model.checkpoint._SMALL_TABLE", 0)


def test_a_small_table_is_not_read_from_its_file(tmp_path):
    save(decoder_of(), tmp_path)
    assert load(tmp_path).tables.file is None


@every_shape
@pytest.mark.usefixtures("large_tables")
@torch.no_grad()
def test_rows_read_from_the_file_are_those_of_the_table(config, tmp_path):
    save(decoder_of(config), tmp_path, shard_bytes=10_000)
    if not config.hidden_size_per_layer_input:
        with pytest.raises(CheckpointError, match="the weights lack embed_tokens_per_layer"):
            RowFile(tmp_path, "embed_tokens_per_layer.weight")
        return
    table, tokens = load(tmp_path).tables, torch.tensor([[5, 9, 5], [299, 0, 9]])
    assert torch.equal(table.file.rows(tokens), table.embed_tokens_per_layer(tokens))


@pytest.mark.usefixtures("large_tables")
def test_a_table_that_is_to_be_trained_is_not_read_from_its_file(tmp_path):
    save(decoder_of(), tmp_path)
    decoder = in_memory(load(tmp_path))
    decoder.tables.embed_tokens_per_layer.weight.data.zero_()
    assert not decoder.tables(torch.tensor([[7]]), torch.zeros(1, 1, 32))[0].any()


def test_each_weight_keeps_the_type_that_it_had(tmp_path):
    decoder = decoder_of()
    decoder.embed_tokens.to(torch.bfloat16)
    save(decoder, tmp_path)
    assert load(tmp_path).embed_tokens.weight.dtype == torch.bfloat16
    assert torch.equal(load(tmp_path).norm.weight, decoder.norm.weight)


@pytest.mark.usefixtures("large_tables")
@torch.no_grad()
def test_a_copy_reads_the_same_rows_and_other_weights_are_taken(tmp_path):
    for name, seed in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        save(decoder_of(seed=seed), tmp_path / name)
    tokens, one = torch.randint(6, 300, (2, 9)), load(tmp_path / "one")
    copied, expected = deepcopy(one), logits(one, tokens)
    one.load_state_dict(load(tmp_path / "two").state_dict())
    assert torch.equal(logits(copied, tokens), expected)
    assert torch.equal(logits(one, tokens), logits(load(tmp_path / "two"), tokens))
