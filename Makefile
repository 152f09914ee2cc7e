# The targets a developer needs; `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Most tests wait for something, so more of them run at a time than there are processors. WORKERS=0: one after the other.
WORKERS ?= 4
PYTEST_OPTIONS ?=
PYTEST := $(BIN)/pytest $(PYTEST_OPTIONS)
PARALLEL := -n $(WORKERS) --dist worksteal -m 'not alone and not slow'
# A file's tests share a world that takes seconds to make: one worker runs them all.
BY_FILE := $(PARALLEL) --dist loadfile
TESTS := tests/unit tests/contract tests/integration tests/hostile tests/fuzz

# $(call twice,NAME,OPTIONS): run tests; those that failed run once more, one after the other. What fails again is a fault, and what
# does not is a test that a busy machine disturbs: the first run has shown how.
twice = $(PYTEST) -o cache_dir=.cache/pytest/$(1) $(2) || { test $$? = 1 && printf '\n%s\n' 'What failed is run once more, alone.' \
	&& $(PYTEST) -o cache_dir=.cache/pytest/$(1) $(2) -n 0 --last-failed --last-failed-no-failures=none --exitfirst; }

.DEFAULT_GOAL := help

.PHONY: help install check format unit test hook matrix torch-check live fuzz soak e2e once bench bench-swarm bench-scale mutants demo clean

help:  ## Show this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP)  ## Make .venv with everything a developer needs

$(STAMP): pyproject.toml locks/dev.txt locks/build.txt client/llmpt.pth client/llmpt.start
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement locks/build.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --requirement locks/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: lock
lock: $(STAMP)  ## Write locks/ anew from pyproject.toml (LOCK=--upgrade: the newest of everything)
	$(BIN)/python locks/update.py $(LOCK)

.PHONY: audit
audit: $(STAMP)  ## Ask the package index whether what is locked has known holes (needs one that answers that)
	$(PYTHON) -m venv .cache/audit
	.cache/audit/bin/python -m pip install --quiet --require-hashes --requirement locks/audit.txt
	for lock in locks/*.txt; do .cache/audit/bin/pip-audit --strict --disable-pip --require-hashes -r $$lock || exit 1; done

.PHONY: lint types imports
check: lint types imports  ## Lint, types, import rules (with -j at the same time)

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

format: $(STAMP)  ## Put the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

unit: $(STAMP)  ## Unit tests: seconds, no network, no libtorrent session
	$(PYTEST) tests/unit

test: $(STAMP)  ## Unit, contract, integration and hostile tests, a minute of fuzz: real roles as processes on loopback, no Docker
	@$(call twice,alone,-m 'alone and not slow' $(shell grep -rl --include='*.py' 'mark\.alone' $(TESTS)))
	@$(call twice,test,$(BY_FILE) $(TESTS))

HOOK := test_boot.py test_public_api.py core hook link settings

hook: $(STAMP)  ## The hook alone: what holds on a Python without libtorrent (3.14), too
	$(PYTEST) $(HOOK:%=tests/unit/client/%) tests/contract/test_hook_*.py

VERSIONS ?= all
MATRIX := matrix or hook_download or hook_bars or hook_future or hub_endpoint

matrix: $(STAMP)  ## Eight versions of huggingface_hub × every way to download; transformers and datasets (VERSIONS=others: what `make test` leaves)
	@export LLMPT_TEST_HUB_VERSIONS='$(VERSIONS)'; $(call twice,matrix,$(PARALLEL) tests/contract -k '$(MATRIX)')

torch-check: $(STAMP)  ## sentence-transformers and diffusers load from the swarm (installs torch; UV_FIND_LINKS may name wheels)
	LLMPT_TEST_TORCH=1 $(BIN)/pytest tests/contract/test_matrix_libraries.py

live: $(STAMP)  ## The same downloads against the real Hub (LLMPT_LIVE=1 make live)
	$(PYTEST) tests/live

fuzz: $(STAMP)  ## Half an hour of rubbish for everything that reads a network or a disk (LLMPT_FUZZ_SEED=n for other rubbish)
	LLMPT_FUZZ_SECONDS=$${LLMPT_FUZZ_SECONDS:-1800} $(PYTEST) $(PARALLEL) tests/fuzz

soak: $(STAMP)  ## Hundreds of downloads, many killed in the middle; then on four machines under random faults (LLMPT_CHAOS_SEED replays)
	$(PYTEST) -s tests/soak --ignore tests/soak/test_scale.py
	$(PYTEST) -m slow $(TESTS)

e2e: $(STAMP)  ## The three-node universe under docker compose (needs a Docker engine)
	@$(call twice,e2e,-m "not slow" tests/e2e)

.PHONY: scale
scale: $(STAMP)  ## Three replicas under load lose a replica, Valkey, PostgreSQL; compose.scale.yaml likewise (needs a Docker engine)
	$(PYTEST) -s -m slow tests/soak/test_scale.py tests/e2e/test_scale.py

.PHONY: images
images: $(STAMP)  ## The images of the end-to-end tests, built beforehand
	$(BIN)/python -m tests.e2e.images

once: $(STAMP)  ## Ten machines want one absent repo of 1 GiB: how often does it cross the Internet? (needs a Docker engine)
	LLMPT_TEST_ONCE_BYTES=1073741824 LLMPT_TEST_ONCE_LINE=67108864 $(BIN)/pytest -s tests/e2e/test_once.py -k "ten_machines or killed"

bench: $(STAMP)  ## Benchmarks: ratios against a reference measured in the same run
	$(BIN)/python -m tests.bench

bench-swarm: $(STAMP)  ## How fast a LAN is filled, in 14 ways: docs/benchmarks/swarm.md (SCENARIOS="together-4 …"; AGAIN=1: measure anew)
	$(BIN)/python -m tests.bench.filling $(SCENARIOS)

bench-scale: $(STAMP)  ## The same for up to 2,000 machines, by a model: docs/benchmarks/at-scale.md
	$(BIN)/python -m tests.bench.filling.scale

mutants: $(STAMP)  ## Change the code in small ways: do its tests notice nine of ten? (all of a group: GROUPS="core --sample 0")
	$(BIN)/uv pip install --quiet --python $(BIN)/python cosmic-ray==8.7.0
	$(BIN)/python -m tests.mutants $(GROUPS)

.PHONY: dist  # a folder, too
dist: $(STAMP)  ## What a server hands out at /dist/ (LLMPT_DIST=dist): the client, and what it needs, as wheels
	$(BIN)/uv build --quiet --wheel --no-build-isolation --python $(BIN)/python --out-dir dist
	$(BIN)/python compose/dist.py locks/dist.txt dist

demo:  ## From nothing: a seeder, a tracker and a second "machine" that downloads a real model from the swarm
	$(PYTHON) tests/demo.py

clean:  ## Remove what the other targets made
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis test-logs dist build
