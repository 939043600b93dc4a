# Short names for the README's commands. Everything is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test docs install bench mutants clean

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch .venv/ready

install: .venv/ready

# Train a shared policy for about 75 seconds on two cores, then compare it on the test days: runs/demo.
demo: .venv/ready
	$(BIN)/dss-marl train ieee34_volt_var --out runs/demo --overwrite
	$(BIN)/dss-marl evaluate runs/demo

# Lint, types, directions of imports, the site with the code in it, a short benchmark that is printed and never fails,
# and tests on all cores.
test: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(MAKE) docs
	-$(BIN)/dss-marl bench ieee13_volt_var --days 3 --steps 16 --no-memory --against benchmarks/baseline.json
	$(BIN)/python -m pytest -n auto

# The site, in docs/_build/html; runs the tutorial. A warning, a broken link or an error in a chapter fails.
docs: .venv/ready
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; \
	then $(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html && echo "docs/_build/html/index.html"; \
	else echo "the site needs Python 3.11 or later: not built"; fi

bench: .venv/ready
	$(BIN)/dss-marl bench --batch 16 --against benchmarks/baseline.json
	$(BIN)/python benchmarks/feeders.py
	$(BIN)/python -m pytest benchmarks --benchmark-enable --benchmark-only

# How many of 60 deliberate breaks the tests notice, and which they do not; most of an hour.
mutants: .venv/ready
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[mutants]"
	$(BIN)/python benchmarks/mutants.py --count 60

clean:
	rm -rf .venv runs docs/_build
