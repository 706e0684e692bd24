# The front door. `make demo` and `make test` set everything up themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Threads that wait must not spin: actors and tests share the cores.
export OMP_WAIT_POLICY ?= PASSIVE
export RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO ?= 0
# A process that crashes says where.
export PYTHONFAULTHANDLER ?= 1

.PHONY: help setup demo test test-units test-clusters test-commands check bench drill format record lock clean

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

setup: $(INSTALLED) ## Create .venv and put `latentswarm` into it

# Modules are compiled when they are first imported: most of the 24,000 never are.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt \
		--editable '.[dev]'
	touch $@

demo: setup ## Run the main job on the bundled reasoner: minutes on two CPU cores
	$(BIN)/latentswarm sweep tune_configs/demo.yaml --out runs/demo

# Integration tests wait for a third of their time, so two groups run at a time; with three, starts of clusters and whole
# commands take longer on a busy machine than Ray and tests wait. Clusters that `ray start` has started or that have
# several nodes must not meet: `cluster`, `drill` and `jobs` are in one group. The others in it make both lanes equally
# long.
CLUSTERS := $(patsubst %,tests/integration/test_%.py,annotate bundled_reasoner calls cluster drill jobs mixtures plugins \
	released_formats same_trajectories scored_commands scoring study sweep_failures sweep_resume train_policy train_rm)

test: setup ## Check style, types and imports and run every test: two groups at a time, each printed when it ends
	$(MAKE) --no-print-directory --jobs=2 --keep-going $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) \
		check test-clusters test-units test-commands

test-units: setup ## Run the tests that start no cluster
	$(BIN)/python -m pytest --durations=15 tests/unit tests/parity

test-clusters: setup ## Run the tests of clusters, actors, jobs and training
	$(BIN)/python -m pytest --durations=15 $(CLUSTERS)

test-commands: setup ## Run all other integration tests
	$(BIN)/python -m pytest --durations=15 tests/integration $(addprefix --ignore=,$(CLUSTERS))

check: setup ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup ## Measure speed ratios anew and fail if one has fallen by a quarter: minutes on a quiet machine
	$(BIN)/python -m benchmarks.guard

drill: setup ## Kill, stop and fill what a sweep needs at random moments, and compare: half an hour
	$(BIN)/python -m benchmarks.drill --kills 30

format: setup ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

record: setup ## Write down what shipped kinds do, which source they are, and what can be set: after a change to one of them
	PYTHONPATH=tests:. $(BIN)/python tests/recorded.py
	PYTHONPATH=tests:. $(BIN)/python tests/generated.py

lock: setup ## Write the versions in .venv down as the reproducible set
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt

clean: ## Remove what the commands above have made, results in runs/ excepted
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache *.egg-info
