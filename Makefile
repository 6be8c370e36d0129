# Everything runs from a virtual environment that these targets create and keep up to date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
STAMP := $(VENV)/.installed
# Processes that the tests run in: one for each core.
WORKERS ?= auto
PROJECTS := pyproject.toml $(wildcard codecs/*/pyproject.toml)

.PHONY: help demo test test-fast differential fuzz lint format types layers check bench clean

help:  ## Show what can be run
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(STAMP): $(PROJECTS) constraints.txt
	@echo "Preparing $(VENV) (first run takes a minute)…"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 …") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# The distributions name each other; the codecs go first, and what they need comes with the core.
	@$(PIP) --no-deps -e codecs/vercel -e codecs/openai -e codecs/haip
	@$(PIP) -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)  ## A local server, an agent, two clients and a late joiner, in your terminal
	@$(BIN)/ably-ai-transport demo

test: $(STAMP)  ## All tests, against the JavaScript SDK where the two must agree (needs node >= 20)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-fast: $(STAMP)  ## Only the tests that need no node
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests codecs

differential: $(STAMP)  ## Ten thousand conversations and replies, compared with the npm package (half an hour)
	@AIT_CASES=2500 $(BIN)/python -m pytest integration_tests/differential integration_tests/codecs

fuzz: $(STAMP)  ## Hostile and damaged input for every parser (three minutes; FUZZ_SECONDS, FUZZ_SEED)
	@$(BIN)/python -m tests.fuzz

lint: $(STAMP)  ## Style
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(STAMP)  ## Rewrite the style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(STAMP)  ## pyright, strict; and an application in pyright basic and mypy
	@$(BIN)/pyright
	@$(BIN)/pyright --project tests/typing
	@$(BIN)/mypy

layers: $(STAMP)  ## The rooms import only what they may
	@$(BIN)/lint-imports

check: lint types layers  ## Style, types and layers

bench: $(STAMP)  ## Measurements, side by side with a peer in the same run
	@$(BIN)/python -m benchmarks

clean:  ## Remove everything that these targets made
	rm -rf $(VENV) integration_tests/node_modules .pytest_cache .ruff_cache .hypothesis
