# Needs python 3.11 or newer and make; everything else arrives in .venv, pinned and hashed by requirements.lock.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; break; }; done)
BIN := .venv/bin
STAMP := .venv/installed
PYTEST := $(BIN)/pytest
FAST := tests/unit tests/property tests/architecture tests/golden
PARALLEL := $(FAST) tests/contract tests/differential tests/simulation tests/integration tests/e2e/gateway tests/e2e/client
SERIAL := tests/e2e/recovery tests/e2e/cluster tests/e2e/cli tests/chaos

.DEFAULT_GOAL := help
.PHONY: help install run test check chaos fmt metrics client bench bench-plots lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## make .venv with everything in it (nothing to do when it is up to date)

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed. Found: $$(python3 --version 2>&1 || echo none)." \
		"Install it, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments." \
		"On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: install ## start everything with accounts trading on real prices; Ctrl-C stops it
	$(BIN)/prop demo

# Most tests share the cores, each worker with a PostgreSQL of its own; those that start Ray have the machine to themselves.
# `make check test` runs the fast tests once, in check: without check, test runs them with the others.
CHECKED := $(if $(filter check,$(MAKECMDGOALS)),$(FAST))
test: install ## run every test
	$(PYTEST) -n 2 --dist worksteal $(wildcard $(filter-out $(CHECKED),$(PARALLEL)))
	$(PYTEST) $(wildcard $(SERIAL))

check: install ## lint, types, import rules and the fast tests, in under a minute
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) -n 2 --quiet $(wildcard $(FAST))

SEED := 1
MINUTES := 10
chaos: install ## hurt a real system under load: make chaos SEED=1 MINUTES=10
	$(BIN)/python -m tests.chaos --seed $(SEED) --minutes $(MINUTES)

fmt: install ## format the code and fix what can be fixed
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

metrics: install ## write docs/metrics.md again, after a metric has changed
	$(BIN)/python -m gateway.metrics_page > docs/metrics.new
	mv docs/metrics.new docs/metrics.md

client: install ## write the client's models again, after a reply or a request has changed
	$(BIN)/python -m gateway.client_models > prop/models.new
	mv prop/models.new prop/models.py
	$(BIN)/ruff format --quiet prop/models.py

bench: install ## measure throughput and latency on this machine
	$(BIN)/python -m benchmarks

CURVES := core marking recovery scaling
bench-plots: install ## measure what has a curve, and draw it into docs/images/performance (a quarter of an hour)
	mkdir -p build
	$(BIN)/python -m benchmarks $(CURVES) --json > build/curves.json
	$(BIN)/python -m benchmarks.plots build/curves.json

lock: ## resolve pyproject.toml again into requirements.lock
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install --quiet uv
	.venv-lock/bin/uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 --extra demo --extra simulation --group dev \
		--generate-hashes --no-header --no-annotate --output-file requirements.lock
	rm -rf .venv-lock

clean: ## remove .venv and caches (data folders stay)
	rm -rf .venv .venv-lock .venv-peers build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
