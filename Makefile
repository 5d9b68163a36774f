# Set-up and the main jobs. PYTHON names the interpreter (3.11 or newer) that the environment is made from.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python main.py --workdir=runs/quickstart
WORKDIR ?= runs/quickstart

.PHONY: help quickstart demo test lint bench clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

# Made anew when the project's requirements change.
$(VENV)/ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --upgrade pip
	$(VENV)/bin/pip install --quiet --editable '.[dev]'
	touch $@

quickstart: $(VENV)/ready  ## train on drawn faces, evaluate, predict; leaves pictures in runs/quickstart
	$(RUN) --config=configs/quickstart.py --mode=train
	$(RUN) --mode=evaluate --config.evaluation.split=test
	$(RUN) --mode=predict --config.evaluation.split=test
	@echo "Look at runs/quickstart: curves.png, examples.png, predictions/"

demo: $(VENV)/ready  ## a page to drop pictures on, http://127.0.0.1:7860; WORKDIR=runs/x says whose parser
	@test -d $(WORKDIR)/checkpoints || { echo "$(WORKDIR) has no checkpoints; 'make quickstart' makes runs/quickstart"; exit 1; }
	$(VENV)/bin/pip install --quiet --editable '.[demo]'
	$(VENV)/bin/python main.py --workdir=$(WORKDIR) --mode=demo $(ARGS)

test: $(VENV)/ready  ## all tests
	$(VENV)/bin/python -m pytest

lint: $(VENV)/ready  ## ruff's checks and format
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

bench: $(VENV)/ready  ## the benchmarks, one after the other
	for file in $$(grep -l "def main" benchmarks/*.py); do $(VENV)/bin/python -m benchmarks.$$(basename $$file .py) || exit 1; done

clean:  ## removes the environment
	rm -rf $(VENV)
