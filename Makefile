# Two commands are enough: `make repro` and `make test`. Each first does all set-up that is missing.

# The interpreter that .venv is made from. Empty: keep the .venv that is there, otherwise python3.
PYTHON ?=
# Added to the command of the target: make test ARGS="-k barrier", make repro ARGS="train@table1"
ARGS ?=

SHELL := bash
.DEFAULT_GOAL := help

# The stages call `lmc`: .venv comes first on PATH, whatever the caller has there.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true

FAST := not slow and not browser and not server
PYTEST := .venv/bin/pytest -q -n auto --dist loadfile --no-loadscope-reorder

.PHONY: help setup repro lab test test-all faults lint types check format docs bench readme screenshots clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

setup: ## Install what is missing: system packages (apt-get), .venv, the package with its constraints
	@scripts/setup.sh '$(PYTHON)'

repro: setup ## Re-make every study on the embedded data set: `dvc repro`, only what changed
	.venv/bin/dvc repro $(ARGS)
	@echo 'The results: report/index.html. `dvc push` is for a remote of your own; none is needed.'

lab: setup ## Make every study of examples/lab on the embedded data set: `dvc repro` in that folder, only what changed
	cd examples/lab && dvc repro $(ARGS)
	@echo 'The results: examples/lab/report/index.html; docs/beyond.md speaks of them.'

test: setup ## Run the fast tests, on all cores: known answers, units, the main job once from end to end
	$(PYTEST) -m '$(FAST)' $(ARGS)

test-all: setup ## Run every test: those of `make test`, and the slow ones, servers, browsers and faults
	$(PYTEST) $(ARGS)

faults: setup ## The long fault tests: 100 kills, 30 on a cluster, 1,000 configs; prints what was killed and generated
	LMC_FAULTS=long .venv/bin/pytest -q tests/faults tests/known_answers/test_portable.py $(ARGS)

lint: setup ## Check style and import order
	.venv/bin/ruff check .

types: setup ## Check types, strictly
	.venv/bin/mypy

check: test-all lint types docs ## All that has to pass before a commit

format: setup ## Fix what the linter can fix
	.venv/bin/ruff check --fix .

docs: setup ## Build the documentation into build/site, without a network; a warning is an error
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build -q

bench: setup ## Measure speed side by side with other loops (minutes): benchmarks/latest.json and latest.md
	.venv/bin/python -m benchmarks $(ARGS)

readme: setup ## Write the tables of results in README.md and docs/method.md, after `make repro`
	.venv/bin/python scripts/readme.py $(ARGS)

screenshots: setup ## Take the pictures of docs/img/ from this folder's finished runs, in a headless Chromium
	@scripts/chromium.sh
	PYTHONPATH=tests/e2e .venv/bin/python scripts/screenshots.py $(ARGS)

clean: ## Remove .venv and the caches; data, runs and results stay
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find lmc_repro tests -name __pycache__ -type d -prune -exec rm -rf {} +
