# Every target does its own set-up in .venv from the pinned locks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
OFFLINE := HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1
# Files of tests run beside each other: many wait for servers that they start. In their own order, as
# xdist would leave those of few and long tests to the end.
PYTEST := $(OFFLINE) $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo test test-sdk test-all test-clients check format lock wheel nano clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: $(VENV)/.run ## Spreadsheet to better model on the bundled base, offline, in minutes
	$(OFFLINE) $(BIN)/tunewright demo

test: $(VENV)/.dev ## All tests that CI runs
	$(PYTEST) -m "not slow"

test-sdk: $(VENV)/.dev ## The tests of OpenAI's own client, fetched, against a live server
	$(BIN)/python -m tools.sdk_tests
	$(PYTEST) tests/sdk -s

test-all: $(VENV)/.dev ## Also the slow tests
	$(PYTEST)

test-clients: $(VENV)/.dev ## Six clients as they are, each in its own environment
	$(BIN)/python -m pytest tests/clients

check: $(VENV)/.dev ## Format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## Format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheel: $(VENV)/.dev ## Build dist/*.whl
	$(BIN)/python -m build --wheel

nano: $(VENV)/.dev ## Rebuild the bundled base from its corpus (hours)
	$(BIN)/python -m tools.build_nano

lock: $(VENV)/.dev ## Pin what is installed now
	$(BIN)/python -m tools.lock

clean: ## Remove the environment and caches
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --quiet -r requirements.lock
	$(PIP) install --quiet --no-deps -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --quiet -r requirements-dev.lock
	$(PIP) install --quiet --no-deps -e .
	@touch $@ $(VENV)/.run
