# make demo | test | bench | lint | clean
# Each makes its own Python environment in .venv from the versions pinned in constraints.txt.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: demo test bench lint clean

demo: $(READY)
	$(BIN)/crossloom demo

test: $(READY)
	@./.ci/packages
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile

bench: $(READY)
	$(BIN)/crossloom bench

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf .venv build .pytest_cache .ruff_cache .mypy_cache *.egg-info

$(READY): pyproject.toml constraints.txt .ci/environment
	@./.ci/environment "$(PYTHON)" .venv
	@touch $@
