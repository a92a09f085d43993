# Every target creates or updates the environment $(VENV) first. You need only make and Python >= 3.11.
#
#   make test PYTHON=/path/to/python3.12 VENV=.venv-3.12

.DEFAULT_GOAL := help

# If empty, the first suitable interpreter of python3, python3.13, … is used.
PYTHON ?=
VENV ?= .venv
BIN := $(VENV)/bin
# Run the tests of a file in one process, because they share fixtures.
PARALLEL ?= -n auto --dist loadfile
# The lock to install from; `make lock` writes the locks.
LOCK ?= requirements/development.txt
# One stamp file per LOCK and PYTHON, so that changing either updates the environment.
READY := $(VENV)/.ready-$(subst /,-,$(LOCK)$(addprefix -,$(PYTHON)))

.PHONY: help demo cdk test test-lowest fuzz kills deployers lint types facts bench lock setup clean

help: ## Show this help
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1@\2/p' Makefile | awk -F@ '{ printf "%-19s%s\n", $$1, $$2 }'

demo: $(READY) ## Build and test the example, deploy it to an emulated AWS
	@$(BIN)/python examples/demo.py

cdk: $(READY) ## Deploy the example with the AWS CDK to an emulated AWS; needs Node.js
	@$(BIN)/python examples/cdk.py

test: $(READY) ## Run the tests; ARGS="-x -k store" goes to pytest
	@$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

# Excluded are slow tests that use no dependency in a way that other tests do not. They test the order of lamina's steps (killed
# processes, network faults, cold starts), lamina's own formats (properties), broken places and inputs (worlds, fuzz), or the repository's files.
SLOW_OR_OWN := tests/aws/test_faults.py tests/aws/test_killed.py tests/pipeline/test_killed.py tests/coldstart tests/fuzz tests/properties tests/repository tests/worlds

test-lowest: ## Run the tests with the lowest versions that pyproject.toml allows
	@$(MAKE) --no-print-directory test VENV='$(VENV)-lowest' LOCK=requirements/lowest.txt ARGS='$(addprefix --ignore=,$(SLOW_OR_OWN)) $(ARGS)'

MINUTES ?= 10
KIND ?=

fuzz: $(READY) ## Fuzz all kinds of input at once, or KIND=locks, for MINUTES=10; ARGS="--replay FILE" repeats a finding
	@PYTHONPATH=src:tests $(BIN)/python -m fuzz --minutes '$(MINUTES)' $(addprefix --kind=,$(KIND)) $(ARGS)

lint: $(READY) ## Check style, types, layering and wording
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python .ci/prose.py

types: $(READY) ## Check types only
	@$(BIN)/mypy

facts: $(READY) ## List facts about AWS and other tools that are older than 90 days
	@$(BIN)/python .ci/facts.py $(ARGS)

kills: $(READY) ## Kill commands N=200 times at moments drawn with SEED=0, and check that the next run makes up for it
	@PYTHONPATH=src:tests:. $(BIN)/python -m tests.kills $(or $(N),200) $(or $(SEED),0)

deployers: $(READY) ## Deploy the same functions twice at once N times, and check that the result is one whole deployment
	@PYTHONPATH=src:tests:. $(BIN)/python -m tests.deployers $(or $(N),20)

bench: $(READY) ## Compare lamina with other tools; ARGS="--quick" for a short run
	@$(BIN)/python -m benchmarks $(ARGS)

lock: $(READY) ## Update every lock; needs uv and npm
	@$(BIN)/python .ci/lock.py

setup: $(READY) ## Create or update the environment only
	@:

clean: ## Remove the environments and all build artifacts
	rm -rf '$(VENV)' '$(VENV)-lowest' build dist benchmarks/results examples/*/.lamina
	rm -rf fuzz-findings .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf '{}' +

$(READY): pyproject.toml .ci/setup requirements/uv.txt $(LOCK)
	@.ci/setup '$(VENV)' '$(PYTHON)' '$(LOCK)'
	@touch '$@'
