# Two commands on a fresh machine: `make demo` and `make test`. PYTHON chooses the interpreter (3.11 to 3.13).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PARALLEL := --numprocesses 2 --dist loadscope

.PHONY: demo test test-all test-long test-lowest coverage audit reproduce pictures docs tree lint clean

demo: $(VENV)/.installed
	$(BIN)/phases run quickstart

# What a newcomer waits for: every behaviour once, in some minutes.
test: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow and not long"

# All but the long ones: `test`, then what is slow. `make test test-all` runs nothing twice.
test-all: test
	$(BIN)/python -m pytest $(PARALLEL) -m "slow and not long"

# The tests that take minutes: fifty kills, thousands of configs, every bit flipped.
test-long: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m long

# What the fast tests of the parts that must be right reach of them; each has a floor. Tracing takes time, so that these
# tests run once more for it, in a minute. Ray's workers are processes of their own, which nothing traces.
COVERED := curvature analysis sweep
coverage: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow and not long" $(COVERED:%=tests/app/%) $(COVERED:%=--cov=app/%) --cov-report=
	for part in $(COVERED); do \
	  $(BIN)/coverage report --include="app/$$part/*" --omit=app/sweep/ray_executor.py --fail-under=90 || exit 1; done

# The tests with the oldest versions that setup.cfg allows.
test-lowest:
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --constraint tests/lowest_versions.txt --editable '.[test]'
	.venv-lowest/bin/python -m pytest $(PARALLEL) -m "not long"

# Known vulnerabilities of what is installed; needs the network.
audit: $(VENV)/.installed-dev
	$(BIN)/pip-audit --skip-editable

# Every experiment of docs/reproduction.md, each in under ten minutes on two cores.
reproduce: $(VENV)/.installed
	for config in configs/laptop/*.yaml; do $(BIN)/phases run $$config || exit 1; done
	$(BIN)/phases uv
	$(BIN)/phases uv --target

# The picture of the README and of the documentation's first page.
pictures: $(VENV)/.installed
	$(BIN)/phases run quickstart
	cp outputs/quickstart/phase_diagram.png docs/quickstart_phase_diagram.png

# The documentation as a site, in site/.
docs: $(VENV)/.installed-dev tree
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The package under its import name, for tools that read code without importing it: links to app/, models/ and configs/.
TREE := build/tree/sharpness_phases
tree:
	rm -rf $(TREE) && mkdir -p $(TREE)
	ln -s $(CURDIR)/app/* $(CURDIR)/models $(CURDIR)/configs $(TREE)/

lint: $(VENV)/.installed-dev tree
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=build/tree $(BIN)/lint-imports

clean:
	rm -rf $(VENV) .venv-lowest site build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or sys.exit("Python 3.11 to 3.13 is needed; $(PYTHON) is %d.%d. Choose another: make PYTHON=python3.12 ..." % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

# What is installed, and for which setup.cfg: editable, so that the command always runs this checkout.
$(VENV)/.installed: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-%: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	touch $@ $(VENV)/.installed
