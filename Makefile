# Set-up, checks and the demonstrations. Every target works from a fresh clone with Python 3.11+, make and a package index.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
# The first interpreter that runs and is of a supported version (a shim on the path may do neither).
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && { echo $$p; break; }; done)
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Processes that share the test files; each takes up to 3 GB.
WORKERS ?= 2
# Memory in pages of 2 MB where Linux offers them: a training step on CPUs takes 1.4 times as long without
# (docs/performance.md). glibc before 2.35 takes no notice.
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

.PHONY: help install quickstart plan-demo test lint tests test-long test-parity test-browser format bench-mini pretrain-mini pretrain-wlp pretrain-released task-smoke wheel-check clean

help: ## List the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

install: $(STAMP) ## Create .venv from requirements.lock, when missing or out of date.

# Bytecode is compiled once here: importing SeqIO with TensorFlow takes 11 s without it and 5 s with it.
$(STAMP): requirements.lock setup.py runtime/setup.py
	PYTHON="$(PYTHON)" VENV="$(VENV)" bash launch/install.sh
	@touch $@

quickstart: install ## The paper's question in miniature: about five minutes on two cores.
	$(BIN)/doa run gin/experiments/quickstart.gin

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Half a minute and more each, and the tests of the benchmarks: `make test` stays short enough to be
# run, CI runs both.
LONG_TESTS := tests/benchmarks tests/docs/test_adding_a_task.py tests/docs/test_t5x_users.py \
  tests/distill_or_annotate/own_tasks/test_from_a_table.py tests/pipeline/test_study.py \
  tests/distill_or_annotate/trainer/test_two_processes.py tests/distill_or_annotate/capture/test_two_processes.py \
  tests/distill_or_annotate/trainer/test_compile_only.py tests/distill_or_annotate/capture/test_kills.py \
  tests/distill_or_annotate/encoder/test_t5_teacher.py tests/tasks/test_training.py
BROWSER_TESTS := tests/distill_or_annotate/reports/test_browser.py tests/distill_or_annotate/planning/test_page_browser.py
APART := $(LONG_TESTS) $(BROWSER_TESTS)

# A worker that dies ends the run: pytest-xdist otherwise starts another and waits for ever for the rest of its file.
tests: install
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --max-worker-restart=0 --no-loadscope-reorder $(addprefix --ignore=,$(APART)) $(PYTEST_ARGS)

test: lint tests ## Set-up, lint and the test suite.

test-long: install ## Whole studies, kills, several processes, the documentation command by command, the benchmarks on tiny shapes.
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --max-worker-restart=0 $(LONG_TESTS) $(PYTEST_ARGS)

test-parity: install ## Network and converted checkpoints against transformers on torch's CPU build (an extra of several hundred MB).
	VENV="$(VENV)" bash launch/install_parity.sh
	$(BIN)/python -m pytest -m parity runtime/tests/test_parity.py tests/distill_or_annotate/interop/test_parity.py \
	  tests/distill_or_annotate/encoder/test_parity.py tests/distill_or_annotate/losses/test_parity.py tests/docs/test_checkpoints.py

test-browser: install ## The report and the plan's page loaded in headless Chromium (from Debian's packages, installed when missing).
	bash launch/install_browser.sh
	DOA_NEEDS_BROWSER=1 $(BIN)/python -m pytest $(BROWSER_TESTS)

format: install ## Format and fix what can be fixed.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

plan-demo: install ## The planner's loop on the embedded task: pilot, plan, run, plan again (under ten minutes).
	VENV="$(VENV)" bash launch/plan_demo.sh

bench-mini: install ## The embedded tasks' acceptance figures over three data seeds (about 25 minutes).
	$(BIN)/python benchmarks/mini.py

pretrain-mini: install ## Pre-train the two shipped mini models again (about an hour).
	bash launch/pretrain_mini.sh

pretrain-wlp: install ## Pre-train mini models on WLP text (needs DOA_DATA_DIR).
	bash launch/pretrain_wlp.sh

pretrain-released: install ## Pre-train a mini student on the text of three released tasks (needs DOA_DATA_DIR).
	bash launch/pretrain_released.sh

task-smoke: install ## Three steps of a tiny model on each of the six tasks (needs DOA_DATA_DIR; about five minutes).
	bash launch/task_smoke.sh

wheel-check: install ## Build both wheels and use them in an empty environment, away from the checkout.
	bash launch/wheel_check.sh

clean: ## Remove what builds leave; runs and the environment stay.
	rm -rf build runtime/build *.egg-info runtime/*.egg-info
