# Everything runs in .venv, which each target makes and fills by itself. `make` lists the targets.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install train test test-slow test-faults parity check lint format type wheel notebooks clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $(STAMP)

install: $(STAMP) ## make .venv and install the package with everything for development

train: $(STAMP) ## train on the embedded data set (ARGS='key=value ...' changes it)
	$(BIN)/python -m fcn_lightning.train $(ARGS)

test: $(STAMP) ## run the tests: offline, on the CPU, two at a time
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(ARGS)

test-slow: $(STAMP) ## run the tests that take minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m slow $(ARGS)

test-faults: $(STAMP) ## run the tests that kill, cut off, fill and damage
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m 'faults or not faults' tests/faults $(ARGS)

parity: $(STAMP) ## run the tests against the reference's golden values
	$(BIN)/python -m pytest tests/models tests/data/test_transforms.py tests/evaluation tests/training/test_losses.py $(ARGS)

check: lint type ## lint and types

lint: $(STAMP) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP) ## ruff: mend and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type: $(STAMP) ## mypy --strict
	$(BIN)/mypy

wheel: $(STAMP) ## build a wheel into dist/
	$(BIN)/python -m build --wheel --no-isolation

notebooks: $(STAMP) ## turn the percent scripts into notebooks and execute them
	$(BIN)/jupytext --to ipynb --execute notebooks/*.py

clean: ## remove caches and build folders; runs in outputs/ stay
	rm -rf build dist *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
