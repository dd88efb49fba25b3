"""init, check and export as a person runs them."""

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import fakes
import pytest
from fakes import minikin
from gguf import GGUFReader

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def member(tmp_path):
    """A whole member, as far as files go."""
    fakes.member(tmp_path / "member")
    (tmp_path / "member" / "README.md").write_text("---\nlibrary_name: transformers\ntags: [a]\npipeline_tag: b\n---\n")
    return tmp_path / "member"


@pytest.mark.parametrize("recipe", ["village", "halfhour"])
def test_every_member_of_a_recipe_runs_everywhere(recipe, tmp_path, capsys, monkeypatch):
    words = ("init", RECIPES / f"{recipe}.toml", "--out", tmp_path)
    status, said, progress = minikin(capsys, monkeypatch, *words)
    assert status == 0, progress
    folders = [Path(line) for line in said.splitlines()]
    assert [folder.name for folder in folders] == ["full", "mini", "nano"]
    for folder in folders:
        status, said, complaints = minikin(capsys, monkeypatch, "check", folder)
        assert status == 0, complaints
        assert said.count("✓") == 12
        assert said.count("not judged") == 2
        assert "✗" not in said


def test_one_member_can_be_written_in_another_type(tmp_path, capsys, monkeypatch):
    words = ("init", RECIPES / "village.toml", "nano", "--dtype", "float32", "--out", tmp_path)
    status, said, _ = minikin(capsys, monkeypatch, *words)
    assert (status, said) == (0, f"{tmp_path / 'nano'}\n")
    assert json.loads((tmp_path / "nano" / "config.json").read_text())["dtype"] == "float32"
    assert not (tmp_path / "full").exists()


def trained_elsewhere(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")


def built(folder):
    (folder / "provenance.json").write_text('{"stage": "member", "key": "k"}')


def of_somebody(folder):
    (folder / "provenance.json").unlink()


@pytest.mark.parametrize("change", [trained_elsewhere, built, of_somebody])
def test_init_replaces_only_what_it_wrote(change, tmp_path, capsys, monkeypatch):
    words = ("init", RECIPES / "village.toml", "--out", tmp_path)
    for _ in range(2):
        status, _, complaints = minikin(capsys, monkeypatch, *words, "nano")
        assert status == 0, complaints
    change(tmp_path / "nano")
    before = {path: path.read_bytes() for path in (tmp_path / "nano").iterdir()}
    status, _, complaints = minikin(capsys, monkeypatch, *words)
    assert status == 1
    assert complaints.splitlines()[-1] == (
        f"minikin: {tmp_path / 'nano'}: is there already, and is no member as minikin init wrote it; delete it or "
        "choose another folder with --out"
    )
    assert {path: path.read_bytes() for path in (tmp_path / "nano").iterdir()} == before
    assert not (tmp_path / "full").exists()


def test_a_member_that_fails_a_check_is_told(member, capsys, monkeypatch):
    path = member / "chat_template.jinja"
    path.write_text("Hello")
    status, said, complaints = minikin(capsys, monkeypatch, "check", member)
    assert status == 1
    assert "✗" in said
    assert "another prompt for" in complaints.splitlines()[-1]


def test_an_export_says_what_it_wrote(member, tmp_path, capsys, monkeypatch):
    words = ("export", "gguf", member, "--type", "q8_0", "--out", tmp_path / "shipped")
    status, said, progress = minikin(capsys, monkeypatch, *words)
    assert status == 0
    written, modelfile = (Path(line.split(" (")[0]) for line in said.splitlines())
    assert GGUFReader(written).fields["general.architecture"].contents() == "gemma4"
    assert f"FROM ./{written.name}" in modelfile.read_text()
    # rows of 3 layers · 16 make no blocks
    assert progress.startswith("7 of 30 matrices are F16 instead of Q8_0; the first: per_layer_token_embd.weight: rows")


def without_weights(member):
    (member / "model.safetensors").unlink()
    (member / "pytorch_model.bin").write_bytes(b"\x80\x04.")


COMPLAINTS = {
    "no such type": (["--type", "q5_k"], lambda _: None, "type 'q5_k': is unknown; choose one of f32, f16"),
    "a family": (["--type", "f16"], lambda m: shutil.move(m, m / ".." / "moved"), "has no config.json"),
    "a pickle": (["--type", "f16"], without_weights, "a pickle, which is never opened; save it as safetensors"),
    "a folder for a file": (
        ["--out", "{tmp}/a.gguf"],
        lambda m: (m.parent / "a.gguf").mkdir(),
        "a.gguf: is a folder; name a file or a folder without .gguf",
    ),
}


@pytest.mark.parametrize(("options", "damage", "said"), COMPLAINTS.values(), ids=COMPLAINTS)
def test_an_export_that_cannot_be_is_one_line(options, damage, said, member, tmp_path, capsys, monkeypatch):
    damage(member)
    options = [option.format(tmp=tmp_path) for option in options]
    status, out, complaints = minikin(capsys, monkeypatch, "export", "gguf", member, *options)
    assert (status, out) == (1, "")
    assert complaints.count("\n") == 1
    assert said in complaints
    assert not list(tmp_path.rglob(".tmp*"))


def test_a_member_that_a_recipe_does_not_have_is_told(tmp_path, capsys, monkeypatch):
    words = ("init", RECIPES / "village.toml", "pico", "--out", tmp_path)
    status, _, complaints = minikin(capsys, monkeypatch, *words)
    assert status == 1
    assert complaints == "minikin: village: has no member 'pico'; it has full, mini, nano\n"


@pytest.mark.parametrize(
    "words", [["init", RECIPES / "village.toml", "full", "--out"], ["export", "gguf", "MEMBER", "--out"]]
)
def test_a_full_disk_leaves_nothing(words, member, tmp_path):
    def small_files_only():
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    words = [str(member) if word == "MEMBER" else str(word) for word in words]
    command = [sys.executable, "-m", "minikin", *words, str(tmp_path / "out")]
    run = subprocess.run(command, capture_output=True, text=True, preexec_fn=small_files_only, check=False)
    assert run.returncode == 1
    assert "cannot be written, the file grew beyond the allowed size" in run.stderr.strip().splitlines()[-1]
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.name != "log.jsonl"]
