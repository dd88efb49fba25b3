"""Checks find what is wrong, say what was not looked at, and judge no random weights."""

import importlib.util
import json
from dataclasses import replace

import fakes
import pytest
import torch

from minikin.base.files import write_json
from minikin.model.checkpoint import load, save, save_initial
from minikin.ship.check import check
from minikin.text.chat import chat_template
from minikin.text.tokenizer import Tokenizer

CARD = "---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags:\n- minikin\n---\n"


def untrained(folder):
    """Random weights as `minikin init` writes them."""
    config = replace(fakes.TINY, max_position_embeddings=512)
    save_initial(config, folder, torch.bfloat16, 1, lambda _: None)
    Tokenizer.of_bytes(config.vocab_size).save(folder, 512, chat_template())
    (folder / "README.md").write_text(CARD)
    write_json(folder / "provenance.json", {"stage": "initial"})


def found(folder):
    return {(each.where, each.what): each for each in check(folder)}


def test_random_weights_run_everywhere_and_are_not_judged_when_rounded(tmp_path):
    untrained(tmp_path)
    made = found(tmp_path)
    not_judged = {("llama.cpp", "in 8 bits"), ("llama.cpp", "in 4 bits")}
    assert {place for place, each in made.items() if each.verdict == "not checked"} == not_judged
    assert {place for place, each in made.items() if each.verdict == "failed"} == set()
    assert "not judged, for it is not trained" in made["llama.cpp", "in 8 bits"].found


def test_what_is_not_installed_is_not_checked(tmp_path, monkeypatch):
    untrained(tmp_path)
    known = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name in ("transformers", "xllamacpp") else known(name)
    )
    made = found(tmp_path)
    for (where, _), each in made.items():
        assert each.verdict == ("not checked" if where in ("Transformers", "llama.cpp") else "passed")
    assert made["llama.cpp", "tokenizer"].found == "xllamacpp is not installed: pip install 'minikin[check]'"


def rename_turn(folder):
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text().replace("'<|turn>model\\n'", "'<|turn>assistant\\n'"))


def forget_spelling(folder):
    path = folder / "config.json"
    fields = json.loads(path.read_text())
    del fields["global_head_dim"]
    path.write_text(json.dumps(fields))


def forget_end(folder):
    (folder / "generation_config.json").write_text('{"eos_token_id": 1}')


def not_finite(folder):
    decoder = load(folder)
    decoder.norm.weight.data[3] = float("nan")
    (folder / "fresh").mkdir()
    save(decoder, folder / "fresh")
    (folder / "fresh" / "model.safetensors").replace(folder / "model.safetensors")


DAMAGES = {
    "no card": (lambda f: (f / "README.md").unlink(), "files", "all there", "lacks README.md"),
    "no metadata": (lambda f: (f / "README.md").write_text("# A model\n"), "files", "model card", "lacks library_name"),
    "one spelling": (forget_spelling, "files", "configuration", "not as every reader needs it: global_head_dim"),
    "no end": (forget_end, "files", "configuration", "does not end an answer at <turn|>"),
    "another template": (rename_turn, "Transformers", "chat template", "another prompt for 'Translate to German"),
    "not finite": (not_finite, "minikin", "logits", "not finite"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "minikin", "loads", "has no model.safetensors"),
}


@pytest.mark.parametrize(("damage", "where", "what", "said"), DAMAGES.values(), ids=DAMAGES)
def test_what_is_wrong_is_found(damage, where, what, said, tmp_path):
    untrained(tmp_path)
    damage(tmp_path)
    each = found(tmp_path)[where, what]
    assert each.verdict == "failed"
    assert said in each.found
    assert "\n" not in each.found
