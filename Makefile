# Every target makes and fills .venv by itself; Python (3.11 or later), pip and make are all that must be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.filled
INPUTS ?= 5000000
HOURS ?= 1
# Most tests wait for processes most of the time, so there are more of them at once than cores.
AT_ONCE ?= 6
NOT_RUN := $(VENV)/not-run.json
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check format lint types bench fuzz simulate chaos inject soak crash-states clean

demo: $(STAMP)
	$(BIN)/python examples/http_demo.py

# Twice, so that the tests that need the machine for themselves have it; the second run tells what neither of them ran.
test: $(STAMP)
	@rm -f $(NOT_RUN)
	@code=0; export TESTS_NOT_RUN=$(NOT_RUN); \
	$(BIN)/python -m pytest -m alone || code=$$?; \
	$(BIN)/python -m pytest -m "not alone" -n $(AT_ONCE) --dist worksteal || code=$$?; \
	exit $$code

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
	$(BIN)/python -m tests.programs.fuzz --inputs $(INPUTS)

chaos: $(STAMP)
	$(BIN)/python -m tests.programs.chaos --kills 2000

inject: $(STAMP)
	$(BIN)/python -m tests.programs.injection

# Web server, task workers and a script on one directory, killed and restarted; needs Debian's redis-server.
soak: $(STAMP)
	$(BIN)/python -m tests.programs.soak --hours $(HOURS)

crash-states: $(STAMP)
	$(BIN)/python -m tests.programs.crash_states

simulate: $(STAMP)
	$(BIN)/python -m tests.programs.simulation --schedules 100000

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .hypothesis benchmarks/results fuzz-found
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable . $$($(PYTHON) -c 'import tomllib; print(*(tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"]))')
	touch $(STAMP)
