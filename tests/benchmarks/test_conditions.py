"""Every benchmark says under what conditions it measured, and shows only what a person may ask of it."""

import ast
import os
import sys
from pathlib import Path

import decode
import pytest
from conditions import conditions

from minikin.base.device import describe

SCRIPTS = sorted(Path(decode.__file__).parent.glob("*.py"))
SHARED = {"baseline.py", "conditions.py", "health.py", "serving.py"}


def test_conditions_are_command_machine_threads_n_and_seed(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["benchmarks/decode.py", "my family/nano", "--threads", "3"])
    command, machine, counted = conditions(threads=3, n="7 runs", seed="5, the prompts").split("\n")
    assert command == "python benchmarks/decode.py 'my family/nano' --threads 3"
    assert machine.startswith(f"{describe().processor}, ")
    assert ", threads: 3; minikin " in machine
    assert counted == "n: 7 runs; seed: 5, the prompts"


def test_no_threads_named_are_all_cores(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["benchmarks/scratch.py", "family"])
    cores = len(os.sched_getaffinity(0))
    assert f", {cores} cores, threads: {cores}; " in conditions(threads=0, n="1", seed="1")


@pytest.mark.parametrize("path", [path for path in SCRIPTS if path.name not in SHARED], ids=lambda path: path.name)
def test_every_script_prints_its_conditions(path):
    main = next(
        node for node in ast.parse(path.read_text(encoding="utf-8")).body if getattr(node, "name", None) == "main"
    )
    printed = [ast.unparse(node) for node in ast.walk(main) if isinstance(node, ast.Call)]
    assert [call for call in printed if call.startswith("print(conditions(threads=")]


def test_what_scripts_tell_themselves_is_hidden():
    shown = decode._arguments().format_help()
    assert "--threads" in shown
    assert "Claim: members answer as fast" in shown
    assert not [option for option in ("--one", "--since", "--temperature") if option in shown]
    told = decode._arguments().parse_args(["nano", "--one", "torch", "--since", "1.5", "--temperature", "0.8"])
    assert (told.one, told.since, told.temperature) == ("torch", 1.5, 0.8)
