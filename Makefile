# Every target creates and fills .venv itself; only Python (3.11 or later), pip and make are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.filled
DOCS_STAMP := $(VENV)/.filled-for-docs
COMPILED := build/compiled
INPUTS ?= 5000000
HOURS ?= 1
# The number of tests at once. It exceeds the cores, because most tests mostly wait for processes.
AT_ONCE ?= 6
NOT_RUN := $(VENV)/not-run.json
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-compiled wheel check docs format lint types bench fuzz simulate chaos inject soak crash-states explore clean

demo: $(STAMP)
	$(BIN)/python examples/http_demo.py

# Two runs: first the tests that need the machine for themselves. The second run reports what neither of them ran.
test: $(STAMP)
	@rm -f $(NOT_RUN)
	@code=0; export TESTS_NOT_RUN=$(NOT_RUN); \
	$(BIN)/python -m pytest -m alone || code=$$?; \
	$(BIN)/python -m pytest -m "not alone" -n $(AT_ONCE) --dist worksteal || code=$$?; \
	exit $$code

# A wheel whose hot modules are compiled by mypyc; it needs a C compiler and Python's headers.
wheel:
	$(MAKE) $(STAMP)
	HATCH_BUILD_HOOK_ENABLE_MYPYC=1 $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

# The tests of everything that has compiled modules below it, over those modules, in a copy.
test-compiled: $(STAMP)
	rm -rf $(COMPILED) && mkdir -p $(COMPILED)
	HATCH_BUILD_HOOK_ENABLE_MYPYC=1 $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir $(COMPILED) .
	cp -r pyproject.toml README.md spex_shards tests examples $(COMPILED)
	cd $(COMPILED) && $(CURDIR)/$(BIN)/python -m zipfile -e *.whl . && ln -sfn $(CURDIR)/../shared ../shared
	cd $(COMPILED) && PYTHONPATH=$(CURDIR)/$(COMPILED) TESTS_COMPILED=1 $(CURDIR)/$(BIN)/python -m pytest \
		tests/runtime tests/engine tests/manager -m "not alone" -n $(AT_ONCE) --dist worksteal

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) docs
	$(MAKE) test

# Warnings are errors: a link that leads nowhere, a name that does not exist, a docstring that cannot be read.
docs: $(DOCS_STAMP)
	$(BIN)/python -m sphinx -q -E -W --keep-going -b html docs docs/_build

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(STAMP)
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m benchmarks

# atheris follows the coverage; if it does not exist for this Python, only mutations are used.
fuzz: $(STAMP)
	-$(BIN)/python -m pip install --quiet "atheris>=3.0"
	$(BIN)/python -m tests.programs.fuzz --inputs $(INPUTS)

chaos: $(STAMP)
	$(BIN)/python -m tests.programs.chaos --kills 2000

inject: $(STAMP)
	$(BIN)/python -m tests.programs.injection

# A web server, task workers and a script use one directory, and are killed and restarted; needs Debian's redis-server.
soak: $(STAMP)
	$(BIN)/python -m tests.programs.soak --hours $(HOURS)

crash-states: $(STAMP)
	$(BIN)/python -m tests.programs.crash_states

# Every pair of systems that the relations' tests otherwise draw from; takes an hour.
explore: $(STAMP)
	TESTS_LENGTH=whole $(BIN)/python -m pytest tests/checking -n auto

simulate: $(STAMP)
	$(BIN)/python -m tests.programs.simulation --schedules 100000

clean:
	rm -rf $(VENV) build dist docs/_build *.egg-info .mypy_cache .ruff_cache .hypothesis benchmarks/results fuzz-found
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable . $$($(PYTHON) -c 'import tomllib; print(*(tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"]))')
	touch $(STAMP)

$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet $$($(PYTHON) -c 'import tomllib; print(*(tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["docs"]))')
	touch $(DOCS_STAMP)
