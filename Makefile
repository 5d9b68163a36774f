# Sets up the environment and runs the main jobs. PYTHON is the interpreter (3.11 or newer) to create it with.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python main.py --workdir=runs/quickstart
WORKDIR ?= runs/quickstart

.PHONY: help quickstart demo test lint docs bench clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

# Rebuilt when the project's requirements change.
$(VENV)/ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is required; choose one with make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --upgrade pip
	$(VENV)/bin/pip install --quiet --editable '.[dev]'
	touch $@

quickstart: $(VENV)/ready  ## train on drawn faces, evaluate, predict; writes runs/quickstart
	$(RUN) --config=configs/quickstart.py --mode=train
	$(RUN) --mode=evaluate --config.evaluation.split=test
	$(RUN) --mode=predict --config.evaluation.split=test
	@echo "Look at runs/quickstart: curves.png, examples.png, predictions/"

demo: $(VENV)/ready  ## serve a page to drop images on, http://127.0.0.1:7860; WORKDIR=runs/x selects the parser
	@test -d $(WORKDIR)/checkpoints || { echo "$(WORKDIR) has no checkpoints; 'make quickstart' creates runs/quickstart"; exit 1; }
	$(VENV)/bin/pip install --quiet --editable '.[demo]'
	$(VENV)/bin/python main.py --workdir=$(WORKDIR) --mode=demo $(ARGS)

test: $(VENV)/ready  ## run all tests
	$(VENV)/bin/python -m pytest

lint: $(VENV)/ready  ## check style, format and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/basedpyright --pythonpath $(VENV)/bin/python

docs: $(VENV)/ready  ## build the documentation in docs/_build/html; warnings are errors
	$(VENV)/bin/pip install --quiet --editable '.[docs]'
	rm -rf docs/_api docs/_build
	$(VENV)/bin/python -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

bench: $(VENV)/ready  ## run the benchmarks one after the other
	for file in $$(grep -l "def main" benchmarks/*.py); do $(VENV)/bin/python -m benchmarks.$$(basename $$file .py) || exit 1; done

clean:  ## remove the environment and built files
	rm -rf $(VENV) build docs/_api docs/_build
