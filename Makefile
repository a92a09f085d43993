# Every target does its own set-up, in $(VENV): Python >= 3.11 and make are all it needs.
#
#   make test PYTHON=/path/to/python3.12 VENV=.venv-3.12

.DEFAULT_GOAL := help

# Empty: the first of python3, python3.13, … that will do.
PYTHON ?=
VENV ?= .venv
BIN := $(VENV)/bin
# A file's tests stay together, because they share what its fixtures start.
PARALLEL ?= -n auto --dist loadfile
# What the environment is filled with; `make lock` makes the locks.
LOCK ?= requirements/development.txt
# One stamp per choice of lock and interpreter, so that another LOCK or PYTHON is noticed.
READY := $(VENV)/.ready-$(subst /,-,$(LOCK)$(addprefix -,$(PYTHON)))

.PHONY: help demo cdk test test-lowest lint types bench lock setup clean

help: ## Show this help
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1@\2/p' Makefile | awk -F@ '{ printf "%-19s%s\n", $$1, $$2 }'

demo: $(READY) ## Build the example, prove that it works, deploy it to an emulated AWS
	@$(BIN)/python examples/demo.py

cdk: $(READY) ## Deploy the example with the AWS CDK to an emulated AWS; needs Node.js
	@$(BIN)/python examples/cdk.py

test: $(READY) ## Run the tests; ARGS="-x -k store" goes to pytest
	@$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

# Left out are the slow tests that use no dependency in a way that others do not: killed processes, bad lines and cold starts
# are about lamina's own order of work, properties about its own formats, and the repository's tests about its files.
SLOW_OR_OWN := tests/aws/test_faults.py tests/aws/test_killed.py tests/pipeline/test_killed.py tests/coldstart tests/properties tests/repository

test-lowest: ## Run the tests with the lowest versions that pyproject.toml allows
	@$(MAKE) --no-print-directory test VENV='$(VENV)-lowest' LOCK=requirements/lowest.txt ARGS='$(addprefix --ignore=,$(SLOW_OR_OWN)) $(ARGS)'

lint: $(READY) ## Check style, types and layering
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

types: $(READY) ## Check types only
	@$(BIN)/mypy

bench: $(READY) ## Measure lamina beside other tools; ARGS="--quick" for a first look
	@$(BIN)/python -m benchmarks $(ARGS)

lock: $(READY) ## Refresh every lock of what these targets install; needs uv and npm
	@$(BIN)/python .ci/lock.py

setup: $(READY) ## Create or update the environment only
	@:

clean: ## Remove the environments and all build artifacts
	rm -rf '$(VENV)' '$(VENV)-lowest' build dist benchmarks/results examples/*/.lamina
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf '{}' +

$(READY): pyproject.toml .ci/setup requirements/uv.txt $(LOCK)
	@.ci/setup '$(VENV)' '$(PYTHON)' '$(LOCK)'
	@touch '$@'
