# Every target creates and fills .venv itself; only Python (3.11 or later), pip and make are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.filled
DOCS_STAMP := $(VENV)/.filled-for-docs
CLUSTER_STAMP := $(VENV)/.filled-for-clusters
BENCH_STAMP := $(VENV)/.filled-for-bench
COMPILED := build/compiled
ROUNDS ?= 5
INPUTS ?= 5000000
HOURS ?= 1
# The number of tests at once. It exceeds the cores, because most tests mostly wait for processes.
AT_ONCE ?= 5
NOT_RUN := $(VENV)/not-run.json
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The tests start hundreds of processes: without compiled bytecode, each would compile some 200 modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo cluster-demo test test-compiled wheel check docs format lint types bench bench-compare fuzz simulate chaos histories inject soak crash-states explore clean

demo: $(STAMP)
	$(BIN)/python examples/http_demo.py

# Shards on three nodes of Ray on this machine, one of which is killed; needs Debian's postgresql.
cluster-demo: $(CLUSTER_STAMP)
	$(BIN)/python examples/cluster/demo.py

# Two runs: first the tests that need the machine for themselves. The second run reports what neither of them ran.
test: $(STAMP)
	@rm -f $(NOT_RUN)
	@code=0; export TESTS_NOT_RUN=$(NOT_RUN); \
	$(BIN)/python -m pytest -m alone || code=$$?; \
	$(BIN)/python -m pytest -m "not alone" -n $(AT_ONCE) --dist worksteal || code=$$?; \
	exit $$code

# A wheel whose hot modules are compiled by mypyc; it needs a C compiler and Python's headers. It is built in a copy,
# because the compiled modules are left beside the source, and Python would prefer them to a source that is newer.
wheel: $(COMPILED)/.built

$(COMPILED)/.built: $(STAMP) README.md LICENSE $(shell find spex_shards -name '*.py')
	rm -rf $(COMPILED) && mkdir -p $(COMPILED) dist
	cp -r pyproject.toml README.md LICENSE spex_shards $(COMPILED)
	cd $(COMPILED) && HATCH_BUILD_HOOK_ENABLE_MYPYC=1 $(CURDIR)/$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	cp $(COMPILED)/dist/*.whl dist
	touch $@

# The tests of everything that has compiled modules below it, over those modules.
test-compiled: wheel
	rm -rf $(COMPILED)/tests $(COMPILED)/examples && cp -r tests examples $(COMPILED) && ln -sfn $(CURDIR)/../shared build/shared
	cd $(COMPILED) && PYTHONPATH=$(CURDIR)/$(COMPILED) TESTS_COMPILED=1 $(CURDIR)/$(BIN)/python -m pytest \
		tests/runtime tests/engine tests/manager tests/checking -m "not alone" -n $(AT_ONCE) --dist worksteal

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

# Library, floor and peers in one run, in both forms where there is a C compiler. Debian's redis-server and postgresql
# are peers as well; what is not installed is left out, and the run says so.
bench: $(BENCH_STAMP)
	@if command -v gcc >/dev/null; then $(MAKE) --no-print-directory wheel; \
	else rm -rf $(COMPILED); echo "only the pure form is measured: there is no C compiler" >&2; fi
	$(BIN)/python -m benchmarks --rounds $(ROUNDS)

# This checkout beside another revision on the hot path, in alternating rounds: make bench-compare REV=main~5
bench-compare: $(STAMP)
	$(BIN)/python -m benchmarks.compare $(REV)

# atheris follows the coverage; if it does not exist for this Python, only mutations are used.
fuzz: $(STAMP)
	-$(BIN)/python -m pip install --quiet "atheris>=3.0"
	$(BIN)/python -m tests.programs.fuzz --inputs $(INPUTS)

chaos: $(STAMP)
	$(BIN)/python -m tests.programs.chaos --kills 2000

# Needs Debian's postgresql.
histories: $(STAMP)
	$(BIN)/python -m tests.programs.histories --faults 120

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

$(CLUSTER_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[cluster]'
	touch $(CLUSTER_STAMP)

# One by one: a peer that does not exist for this Python is left out.
$(BENCH_STAMP): $(STAMP)
	@$(PYTHON) -c 'import tomllib; print(*(tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["bench"]), sep="\n")' | \
	while read -r package; do $(BIN)/python -m pip install --quiet "$$package" || echo "not installed: $$package" >&2; done
	touch $(BENCH_STAMP)

$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet $$($(PYTHON) -c 'import tomllib; print(*(tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["docs"]))')
	touch $(DOCS_STAMP)
