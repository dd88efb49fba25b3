"""What cannot be exported or run is refused in one line that names it, and nothing is left behind."""

import errno
import json
import os
import re
import sys

import pytest
from fakes import member
from gguf import GGUFWriter
from safetensors.torch import load_file, save_file

from minikin.base.errors import CheckpointError, ExportError, MinikinError, StorageError, TokenizerError
from minikin.model.config import FULL, SLIDING
from minikin.ship.gguf import export
from minikin.ship.llamacpp import LlamaCpp


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change_tokenizer(folder, key, value):
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))


def spoil(folder):
    stored = load_file(folder / "model.safetensors")
    stored["model.norm.weight"][3] = float("nan")
    save_file(stored, folder / "model.safetensors")


def pickle(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04\x95cposix\nsystem\n.")


def shorten(path):
    path.write_bytes(path.read_bytes()[:-50])


UNTURNED = {
    SLIDING: {"rope_type": "default", "rope_theta": 1e4},
    FULL: {"rope_type": "proportional", "partial_rotary_factor": 0.1, "rope_theta": 1e6},
}
COMPLAINTS = {
    "cut short": (lambda f: shorten(f / "model.safetensors"), CheckpointError, "is damaged"),
    "a pickle": (pickle, CheckpointError, "only pytorch_model.bin, a pickle, which is never opened"),
    "another width": (
        lambda f: change(f, intermediate_size=40),
        CheckpointError,
        "model.layers.0.mlp.gate_proj.weight has shape (48, 32), but config.json asks for (40, 32)",
    ),
    "not a number": (spoil, CheckpointError, "model.norm.weight holds numbers that are not finite; train"),
    "a short table": (
        lambda f: change(f, vocab_size_per_layer_input=200),
        ExportError,
        "vocab_size_per_layer_input = 200 differs from vocab_size = 300; llama.cpp needs a row a token",
    ),
    "caches shared otherwise": (
        lambda f: change(f, num_kv_shared_layers=1, layer_types=[FULL, SLIDING, FULL], per_layer_config=None),
        ExportError,
        "makes layers 0 and 1 the ones whose keys are shared; llama.cpp needs a sliding and then a full layer there",
    ),
    "one layer": (
        lambda f: change(f, num_hidden_layers=1, layer_types=[FULL], per_layer_config=None),
        ExportError,
        "num_hidden_layers = 1; llama.cpp needs a sliding and a full layer at least",
    ),
    "nothing turned": (
        lambda f: change(f, rope_parameters=UNTURNED),
        ExportError,
        "partial_rotary_factor turns no channel of full attention; llama.cpp needs two at least",
    ),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), TokenizerError, "has no tokenizer.json; build"),
    "a damaged tokenizer": (lambda f: shorten(f / "tokenizer.json"), CheckpointError, "tokenizer.json: is damaged"),
    "another tokenizer": (
        lambda f: change_tokenizer(f, "model", {"type": "WordPiece", "vocab": {}, "merges": []}),
        TokenizerError,
        "is a 'WordPiece' tokenizer; llama.cpp's gemma4 is BPE",
    ),
    "a tokenizer that lowers": (
        lambda f: change_tokenizer(f, "normalizer", {"type": "Lowercase"}),
        TokenizerError,
        "changes or splits text otherwise than llama.cpp's gemma4",
    ),
    "a larger tokenizer": (
        lambda f: change_tokenizer(f, "added_tokens", [{"id": 300, "content": "<x>", "special": True}]),
        TokenizerError,
        "has a token 300, but the embedding only 300 rows",
    ),
    "a garbled card": (lambda f: (f / "README.md").write_text("---\na: [\n---\n"), CheckpointError, "no valid YAML"),
}


@pytest.mark.parametrize(("damage", "kind", "said"), COMPLAINTS.values(), ids=COMPLAINTS)
def test_what_cannot_be_exported_is_refused_by_name_and_leaves_nothing(damage, kind, said, tmp_path):
    member(tmp_path / "member")
    damage(tmp_path / "member")
    with pytest.raises(kind, match=re.escape(said)) as caught:
        export(tmp_path / "member", tmp_path / "out", "q8_0")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(ExportError, match="type 'q5_k': is unknown; choose one of f32, f16, bf16, q8_0, q4_0"):
        export(tmp_path, None, "q5_k")


def test_weights_beyond_float16_are_refused(tmp_path):
    member(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    stored["model.layers.0.mlp.up_proj.weight"][3, 4] = 1e5
    save_file(stored, tmp_path / "model.safetensors")
    with pytest.raises(ExportError, match=r"up_proj\.weight is too large for float16; export bf16 or f32"):
        export(tmp_path, None, "f16")
    assert export(tmp_path, None, "bf16").path.is_file()


def test_a_full_disk_leaves_the_earlier_file(tmp_path, monkeypatch):
    member(tmp_path)
    before = export(tmp_path, tmp_path / "out" / "member.gguf", "f32").path.read_bytes()
    pad, calls = GGUFWriter.write_padding, []

    def full(self, *arguments):
        calls.append(arguments)
        if len(calls) > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pad(self, *arguments)

    monkeypatch.setattr(GGUFWriter, "write_padding", full)
    with pytest.raises(StorageError, match=r"member\.gguf: cannot be written, the disk is full"):
        export(tmp_path, tmp_path / "out" / "member.gguf", "f16")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"member.gguf"}
    assert (tmp_path / "out" / "member.gguf").read_bytes() == before


def test_what_a_killed_export_left_is_removed(tmp_path):
    member(tmp_path)
    (tmp_path / ".tmp-member.gguf-99999999").write_text("half")
    export(tmp_path, tmp_path / "member.gguf", "f32")
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_missing_engine_is_one_line(tmp_path, monkeypatch):
    member(tmp_path)
    path = export(tmp_path, None, "f32").path
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ExportError, match=re.escape("pip install 'minikin[check]'")):
        LlamaCpp(path)


def test_llama_cpp_refuses_in_one_line(tmp_path):
    (tmp_path / "member.gguf").write_text("no model")
    with pytest.raises(MinikinError, match=r"member.gguf: llama.cpp cannot load it"):
        LlamaCpp(tmp_path / "member.gguf")
    with pytest.raises(MinikinError, match=r"other.gguf: is missing; export the member first"):
        LlamaCpp(tmp_path / "other.gguf")
