# Every target makes and fills .venv by itself; Python (3.11 or later), pip and make are all that must be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.filled
INPUTS ?= 5000000
HOURS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check format lint types bench fuzz simulate chaos inject soak crash-states clean

demo: $(STAMP)
	$(BIN)/python examples/http_demo.py

test: $(STAMP)
	$(BIN)/python -m pytest

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(STAMP)
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m benchmarks

# atheris follows the coverage; where there is none for this Python, mutations are made without it.
fuzz: $(STAMP)
	-$(BIN)/python -m pip install --quiet "atheris>=3.0"
	$(BIN)/python -m tests.fuzz --inputs $(INPUTS)

chaos: $(STAMP)
	$(BIN)/python -m tests.chaos --kills 2000

inject: $(STAMP)
	$(BIN)/python -m tests.injection

# Web server, task workers and a script on one directory, killed and restarted; needs Debian's redis-server.
soak: $(STAMP)
	$(BIN)/python -m tests.soak --hours $(HOURS)

crash-states: $(STAMP)
	$(BIN)/python -m tests.crash_states

simulate: $(STAMP)
	$(BIN)/python -m tests.simulation --schedules 100000

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .hypothesis benchmarks/results fuzz-found
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable . $$($(PYTHON) -c 'import tomllib; print(*(tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"]))')
	touch $(STAMP)
