# `make family` builds the built-in family; `make test` passes the tests. Both set themselves up.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: all check docs family test clean

all: check test

family: .venv/installed
	$(BIN)/minikin build recipes/village.toml

test: .venv/installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist worksteal

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

docs: .venv/installed
	$(BIN)/python -m minikin.family.reference > docs/recipe.md
	$(BIN)/python -m minikin.measure.report > docs/report.schema.json

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv families
