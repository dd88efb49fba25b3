"""The commands as a person runs them: a tiny family from end to end, killed and continued; every complaint."""

import importlib
import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes import minikin

from minikin.app.cli import _serving, main
from minikin.app.commands import _named_after
from minikin.base.files import file_digest
from minikin.measure.report import read_report, schema

ROOT = Path(__file__).parents[2]
VILLAGE = ROOT / "recipes" / "village.toml"
# the village family, a hundred times smaller
TINY = [
    "data.translation.train=['village:300']",
    "data.summarization.train=['village:100']",
    "data.dialogue.train=['village:100']",
    "data.text.train=['village:30']",
    "data.translation.test=['village:40']",
    "data.summarization.test=['village:40']",
    "data.dialogue.test=['village:40']",
    "data.dialogue.select=['village:40']",
    "tokenizer.vocab_size=512",
    "member.full.shape.num_hidden_layers=3",
    "member.full.shape.intermediate_size=96",
    "member.full.shape.hidden_size_per_layer_input=96",
    "member.mini.distill.importance_samples=32",
    "member.nano.distill.importance_samples=32",
    "member.full.train.tokens=40960",
    "member.mini.distill.tokens=20480",
    "member.nano.distill.tokens=20480",
    "measure.max_examples=12",
    "measure.max_new_tokens=8",
    "measure.resamples=50",
    "threads=1",
    "checkpoint_seconds=0.3",
]
SETTINGS = [part for override in TINY for part in ("--set", override)]
MEMBERS = ("full", "mini", "nano")


def process(*words, **options):
    command = [sys.executable, "-m", "minikin", *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, **options
    )


def weights(family):
    return {name: file_digest(family / name / "model.safetensors") for name in MEMBERS}


@pytest.fixture(scope="session")
def family(tmp_path_factory):
    """A family built without interruption."""
    out = tmp_path_factory.mktemp("built") / "village"
    built = process("build", VILLAGE, *SETTINGS, "--out", out)
    said, complaints = built.communicate()
    assert built.returncode == 0, complaints
    assert f"report: {out / 'report.html'}" in said
    return out


def test_a_build_leaves_what_its_readers_expect(family):
    for name in MEMBERS:
        files = {path.name for path in (family / name).iterdir()}
        assert files >= {
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
            "chat_template.jinja",
            "README.md",
            "provenance.json",
            "manifest.json",
        }
        assert (family / name / "model.safetensors").stat().st_mode & 0o044 == 0o044
    assert not any(path.name.startswith(".tmp") for path in family.rglob("*"))
    page = (family / "report.html").read_text()
    assert "<script" not in page
    assert "http://www.w3.org" in page
    assert page.count("<svg") == 6


def test_the_report_is_what_its_schema_says(family):
    stored = json.loads((family / "report.json").read_text())
    report = read_report(family)
    assert list(report.members) == list(stored["members"]) == list(MEMBERS)
    for name, member in stored["members"].items():
        assert set(schema()["$defs"]["MemberReport"]["required"]) <= set(member)
        kept = report.members[name].retention["translation"]["bleu"]
        assert kept.n == 12
        assert member["efficiency"]["peak_rss_bytes"] > 1e8
    full = report.members["full"]
    assert list(full.group_scores) == ["translation"]
    assert list(full.group_scores["translation"]) == list(full.group_retention["translation"]) == ["de-en", "en-de"]
    assert {bucket.by for bucket in full.limits if bucket.task == "translation"} == {"length", "rarity", "complexity"}
    assert full.training.epochs.keys() == {"translation", "summarization", "dialogue", "text"}
    for task, metrics in full.retention.items():
        for metric, kept in metrics.items():
            # of a score of nothing nothing can be kept
            assert kept.value == (1 if full.scores[task][metric].value > 0 else 0)
    assert full.retention["translation"]["chrf"].value == 1
    assert {promise.name for promise in report.members["nano"].promises} == {
        "translation",
        "summarization",
        "dialogue",
        "memory",
        "compute",
    }


def test_a_report_is_kept_without_paths_of_the_machine(family, tmp_path, capsys, monkeypatch):
    saved = tmp_path / "results"
    for _ in range(2):
        status, said, complaints = minikin(capsys, monkeypatch, "report", family, "--save", saved)
        assert status == 0, complaints
        assert f"report: {saved / 'report.html'}" in said
        assert {path.name for path in saved.iterdir()} == {"report.json", "report.html", "recipe.json", "manifest.json"}
        for path in saved.iterdir():
            assert not re.search(r'["( ]/\w', path.read_text()), path
    assert read_report(saved).members == read_report(family).members
    recipe = json.loads((saved / "recipe.json").read_text())
    assert recipe["data"]["root"] == "."
    assert recipe["member"] == json.loads((family / "recipe.json").read_text())["member"]


def test_a_report_is_not_kept_where_something_else_is(family, tmp_path, capsys, monkeypatch):
    (tmp_path / "thesis.txt").write_text("years of work")
    for place, found in ((tmp_path, "holds thesis.txt"), (tmp_path / "thesis.txt", "is a file"), (family, "holds ")):
        status, _, complaints = minikin(capsys, monkeypatch, "report", family, "--save", place)
        assert status == 1
        assert f"{place}: {found}" in complaints
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_second_build_only_looks(family, capsys, monkeypatch):
    before = weights(family)
    status, _, progress = minikin(capsys, monkeypatch, "build", VILLAGE, *SETTINGS, "--out", family)
    assert status == 0
    for name in ("data", *MEMBERS, "answers/full"):
        assert f"{name}: is up to date" in progress
    assert weights(family) == before


def test_a_changed_nano_leaves_the_others(family, tmp_path, capsys, monkeypatch):
    copy = tmp_path / "village"
    shutil.copytree(family, copy)
    changed = ["--set", "member.nano.distill.learning_rate=0.002", "--set", "member.nano.distill.teacher_answers=8"]
    status, _, progress = minikin(capsys, monkeypatch, "build", VILLAGE, *SETTINGS, *changed, "--out", copy)
    assert status == 0, progress
    assert "mini: is up to date" in progress
    assert "written/nano: done" in progress
    before, after = weights(family), weights(copy)
    assert (before["full"], before["mini"]) == (after["full"], after["mini"])
    assert before["nano"] != after["nano"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_build_killed_again_and_again_ends_with_the_same_weights(family, tmp_path, number):
    out, kills = tmp_path / "village", 0
    while True:
        building = process("build", VILLAGE, *SETTINGS, "--out", out)
        try:
            # later each time, so that every stage is hit and the end is reached
            building.communicate(timeout=4 * 1.5**kills)
        except subprocess.TimeoutExpired:
            building.send_signal(number)
            building.communicate()
            assert building.returncode in (-number, 128 + number, 0)
            kills += 1
            continue
        break
    assert building.returncode == 0
    assert kills >= 2
    assert weights(out) == weights(family)
    assert not any(path.name.startswith(".tmp") for path in out.glob("*"))


def test_an_interruption_outside_of_training_is_told(family, tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("minikin.app.commands.build_family", interrupted)
    status, _, complaints = minikin(capsys, monkeypatch, "build", VILLAGE, *SETTINGS, "--out", tmp_path / "village")
    assert status == 128 + signal.SIGINT
    assert complaints == "minikin: stopped; what is complete is kept, run the same command again to go on\n"


def test_evaluation_with_other_settings_keeps_the_members(family, tmp_path, capsys, monkeypatch):
    copy = tmp_path / "village"
    shutil.copytree(family, copy)
    status, _, progress = minikin(capsys, monkeypatch, "evaluate", copy, "--set", "measure.max_new_tokens=4")
    assert status == 0, progress
    assert weights(copy) == weights(family)
    assert "at most 4 tokens" in read_report(copy).how["answers"]


def test_evaluation_on_other_files_leaves_a_report_of_its_own(family, tmp_path, capsys, monkeypatch):
    copy, data = tmp_path / "village", tmp_path / "my tests"
    shutil.copytree(family, copy)
    data.mkdir()
    pairs = [{"source": f"{n}", "target": f"{n}!", "source_lang": "en", "target_lang": "de"} for n in ("one", "two")]
    (data / "test.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    words = ["evaluate", copy, "--set", "quantize={q8_0 = {}}", "--data", data, "--data", data / "test.jsonl"]
    status, said, progress = minikin(capsys, monkeypatch, *words)
    assert status == 0, progress
    [out] = (copy / "evaluations").iterdir()
    assert re.fullmatch(r"my-tests\+my-tests-test-[0-9a-f]{6}", out.name)
    assert f"report: {out / 'report.html'}" in said
    assert "how much of the test is in the training data" in said
    assert "<h2>Test and training</h2>" in (out / "report.html").read_text()
    assert list(read_report(out).members["nano"].scores) == ["translation"]
    assert read_report(copy) == read_report(family)
    status, _, complaints = minikin(capsys, monkeypatch, "evaluate", copy, "--out", tmp_path / "out")
    assert status == 1
    assert "out: a family's own report lies in its folder; name test files as well: --data PATH" in complaints


def test_evaluations_on_tests_of_one_name_have_folders_of_their_own(tmp_path):
    places = [tmp_path / name / "test" for name in ("a", "b", "a")]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    first, second, again = (_named_after([place]) for place in places)
    assert first == again != second
    assert {name[:-6] for name in (first, second)} == {"test-"}


def test_a_plan_is_printed_before_anything_is_built(capsys, monkeypatch):
    status, said, _ = minikin(capsys, monkeypatch, "plan", VILLAGE, "--json")
    assert status == 0
    counted = json.loads(said)
    assert counted["mini"]["compute_ratio"] <= 0.5
    status, said, _ = minikin(capsys, monkeypatch, "plan", ROOT / "recipes" / "published.toml")
    assert "1/10, is 1/12.1 ✓" in said
    assert "1.3 B, is +0.3%" in said
    assert "40% of 989 TFLOP/s" in said


def test_a_member_answers_in_a_pipe(family):
    talking = process("chat", family / "nano", "--engine", "torch", stdin=subprocess.PIPE)
    said, complaints = talking.communicate("Translate to German: the man\n\nSummarize: It was cold.\n/reset\nHello\n")
    assert (talking.returncode, complaints) == (0, "")
    assert said.count("\n") == 3


DECODINGS = {
    "beams": ["--beams", "3"],
    "drawn": ["--temperature", "1.2", "--top-k", "20", "--min-p", "0.02", "--repetition-penalty", "1.3"],
}


@pytest.mark.parametrize("settings", DECODINGS.values(), ids=DECODINGS)
def test_a_member_answers_as_it_is_told(family, settings, capsys, monkeypatch):
    answers = []
    for _ in range(2):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Summarize: It was cold.\nHello\n")))
        words = ["minikin", "chat", str(family / "mini"), "--engine", "torch", *settings]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        said = capsys.readouterr()
        assert said.err == ""
        answers.append(said.out)
    assert answers[0] == answers[1]
    assert answers[0].count("\n") >= 2


def test_what_contradicts_beams_is_one_line(family, capsys, monkeypatch):
    status, _, complaints = minikin(capsys, monkeypatch, "chat", family / "nano", "--beams", 3, "--engine", "llama.cpp")
    assert (status, complaints.count("\n")) == (1, 1)
    assert "--beams 3: llama.cpp searches none; leave out --engine llama.cpp" in complaints
    status, _, complaints = minikin(capsys, monkeypatch, "chat", family / "nano", "--beams", 3, "--type", "q9")
    assert (status, complaints.count("\n")) == (1, 1)
    assert "q9" in complaints


def test_help_answers_at_once():
    started = time.monotonic()
    said, _ = process("--help").communicate()
    assert "build" in said
    assert time.monotonic() - started < 2.0  # half a second alone; tests share their processors
    loaded = "import sys, minikin.app.cli; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True).stdout.strip() == "False"


def damaged(family, name):
    """Flip one bit: the file still loads, but is not what was written."""
    path = family / name
    content = bytearray(path.read_bytes())
    content[-5] ^= 4
    path.write_bytes(content)


COMPLAINTS = {
    "no recipe": (["build", "none.toml"], "none.toml: no such file; see the folder recipes/"),
    "unknown field": (["build", VILLAGE, "--set", "sed=1"], "sed: unknown field; did you mean 'seed'?"),
    "wrong type": (["plan", VILLAGE, "--set", "seed='x'"], "seed: found 'x'; input should be a valid integer"),
    "no data": (["build", VILLAGE, "--set", "data.text.train=['none.jsonl']"], "none.jsonl: no such file"),
    "impossible budget": (["plan", VILLAGE, "--set", "member.nano.compute='1/900'"], "member.nano: no shape has"),
    "a file for a family": (["report", VILLAGE], "village.toml/report.json: cannot be read (Not a directory)"),
    "a village without a size": (["plan", VILLAGE, "--set", "data.text.train=['village']"], "expected village:COUNT"),
    "no family": (["report", "none"], "none: no such folder; name the folder of a family"),
    "a folder that cannot be made": (["build", VILLAGE, "--out", "/proc/none"], "/proc/none: cannot be made; choose"),
    "a member that is misspelt": (
        ["plan", VILLAGE, "--set", "member.ful.train.tokens=5"],
        "--set member.ful.train.tokens=5: the recipe has no member 'ful'; did you mean 'full'?",
    ),
    "no member": (["chat", "none"], "none: no such folder; name a built family or a member"),
    "beams that draw": (
        ["chat", "none", "--beams", "4", "--temperature", "1"],
        "num_beams is 4 and temperature 1: beams search, a temperature draws; leave one of them out",
    ),
    "a filter of nothing": (["chat", "none", "--top-k", "4"], "top_k: nothing is drawn at temperature 0"),
    "nothing to evaluate": (["evaluate", "none"], "none: is not a family that was built to its end"),
}


@pytest.mark.parametrize(("words", "said"), COMPLAINTS.values(), ids=COMPLAINTS)
def test_bad_input_is_one_line(words, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, complaints = minikin(capsys, monkeypatch, *words)
    assert status == 1
    assert out == ""
    last = complaints.strip().splitlines()[-1]
    assert last.startswith("minikin: ")
    assert said in last
    assert "Traceback" not in complaints


def test_a_bad_record_stops_a_build_and_leaves_earlier_results(family, tmp_path, capsys, monkeypatch):
    copy, records = tmp_path / "village", tmp_path / "records.jsonl"
    shutil.copytree(family, copy)
    records.write_text('{"source": "a", "source_lang": "en", "target_lang": "de"}\n')
    words = ["build", VILLAGE, *SETTINGS, "--set", f"data.translation.train=['{records}']", "--out", copy]
    status, _, complaints = minikin(capsys, monkeypatch, *words)
    assert status == 1
    assert f"{records}:1: lacks 'target'" in complaints
    assert weights(copy) == weights(family)
    assert read_report(copy) == read_report(family)
    status, _, complaints = minikin(capsys, monkeypatch, "evaluate", copy)
    assert status == 0, complaints


def test_a_damaged_member_is_told(family, tmp_path, capsys, monkeypatch):
    copy = tmp_path / "village"
    shutil.copytree(family, copy)
    damaged(copy, "nano/model.safetensors")
    status, _, complaints = minikin(capsys, monkeypatch, "chat", copy / "nano")
    assert status == 1
    assert "nano/model.safetensors: is damaged" in complaints
    status, _, complaints = minikin(capsys, monkeypatch, "evaluate", copy, "--set", "measure.max_new_tokens=5")
    assert status == 1
    assert "nano/model.safetensors: is damaged" in complaints


@pytest.mark.parametrize(
    "name", ["data/train/text/0/tokens.bin", "full/model.safetensors", "answers/mini/answers.jsonl"]
)
def test_a_damaged_artifact_stops_a_build(family, tmp_path, capsys, monkeypatch, name):
    copy = tmp_path / "village"
    shutil.copytree(family, copy)
    damaged(copy, name)
    status, _, complaints = minikin(capsys, monkeypatch, "build", VILLAGE, *SETTINGS, "--out", copy)
    assert status == 1
    assert f"{name}: is damaged" in complaints
    assert "and build again" in complaints


def test_a_full_disk_is_told_and_earlier_results_stay(family, tmp_path):
    copy = tmp_path / "village"
    shutil.copytree(family, copy)

    def small_files_only():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    changed = ["--set", "member.full.train.learning_rate=0.002"]
    building = process("build", VILLAGE, *SETTINGS, *changed, "--out", copy, preexec_fn=small_files_only)
    _, complaints = building.communicate()
    assert building.returncode == 1, complaints
    assert "cannot be written, the file grew beyond the allowed size" in complaints.strip().splitlines()[-1]
    assert weights(copy) == weights(family)


def test_a_second_build_in_the_same_folder_is_refused(family, tmp_path):
    out = tmp_path / "village"
    first = process("build", VILLAGE, *SETTINGS, "--out", out)
    while not (out / ".lock").exists():
        time.sleep(0.05)
    time.sleep(0.2)
    second = process("build", VILLAGE, *SETTINGS, "--out", out)
    _, complaints = second.communicate()
    first.kill()
    first.communicate()
    assert second.returncode == 1
    assert "another build is at work here" in complaints


SPINS = {
    "as it comes": ({}, "10000"),
    "said": ({"GOMP_SPINCOUNT": "5"}, "5"),
    "policy": ({"OMP_WAIT_POLICY": "x"}, None),
}


@pytest.mark.parametrize(("told", "spins"), SPINS.values(), ids=SPINS)
def test_what_serves_leaves_the_other_core_soon(monkeypatch, told, spins):
    monkeypatch.setattr(os, "environ", dict(told))
    monkeypatch.setattr(importlib, "import_module", lambda name: name)
    assert _serving() == "minikin.app.serving"
    assert os.environ.get("GOMP_SPINCOUNT") == spins
