# From a bare clone: `make demo`, `make test`. Needs make and Python 3.11 to 3.14 with venv; the rest goes into .venv.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH_STAMP := $(VENV)/.installed-torch
LINKS := .links
FOLDERS := $(patsubst %/__init__.py,%,$(filter-out nkilab/__init__.py,$(wildcard */__init__.py)))

# Another interpreter: make PYTHON=/path/to/python3.12 test
PYTHON ?=
# Another build of torch: make TORCH=torch==2.12.0 test-torch. The CPU build is smallest; where the default index serves
# a CUDA build for this machine, set PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS to one with CPU builds, as pip documents.
TORCH ?= torch==2.13.0
# Tests at once; 0 runs them in one process.
JOBS ?= 2

.PHONY: help demo test test-torch check bench accuracy kernels-report tested links clean
help:
	@echo "make demo        simulate, check and time four matmul kernels; reports in nkilab-out/"
	@echo "make test        all tests but those that need torch"
	@echo "make test-torch  compare with torch on the CPU"
	@echo "make check       format, lint, types, import directions: seconds"
	@echo "make bench       speed of the simulator, clock and profiler"
	@echo "make kernels-report  docs/kernels.md: how well the fast kernels use the machine"
	@echo "make accuracy    measured against modelled; writes docs/accuracy.md"
	@echo "make tested      which test holds which operation, for \`nkilab ops\`; writes simulator/tested.py"
	@echo "make links       the tree of links that type checkers follow"
	@echo "make clean       remove everything that make made, .venv too"

demo: $(STAMP)
	$(BIN)/python -m nkilab demo --force

test: $(STAMP)
	$(BIN)/python -m pytest -q -n $(JOBS) -m "not torch and not wide"

test-torch: $(TORCH_STAMP)
	$(BIN)/python -m pytest -q -m torch

check: $(STAMP) links
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	cd $(LINKS) && ../$(BIN)/mypy --config-file ../pyproject.toml --cache-dir ../.mypy_cache
	$(BIN)/python -m pytest -q tests/project/test_imports.py

bench: $(STAMP)
	$(BIN)/python -m nkilab.bench.speed

kernels-report: $(STAMP)
	$(BIN)/python -m nkilab.bench.kernels_report

accuracy: $(STAMP)
	$(BIN)/python -m nkilab.bench.accuracy

tested: $(STAMP)
	$(BIN)/python -m tests.simulator.documented.collected
	$(BIN)/ruff format --quiet simulator/tested.py

# One package made of links, laid out as it is installed.
links:
	@rm -rf $(LINKS) && mkdir -p $(LINKS)/nkilab
	@cd $(LINKS)/nkilab && for entry in ../../nkilab/*; do \
	  [ "$${entry##*/}" = __pycache__ ] || ln -s "$$entry" .; done
	@cd $(LINKS)/nkilab && for folder in $(FOLDERS); do ln -s "../../$$folder" .; done

clean:
	rm -rf $(VENV) $(LINKS) nkilab-out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh tools/venv.sh
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(TORCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(TORCH)'
	@touch $@
