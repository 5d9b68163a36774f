# Sets up the environment and runs the main jobs. PYTHON is the interpreter (3.11 or newer) to create it with.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python main.py --workdir=runs/quickstart
# Whose parser demo serves and weights exports; without one, demo serves the network that ships with the package.
WORKDIR ?=
# The benchmarks that need no data and no further choice; benchmarks/*.py has more.
BENCHMARKS := startup photo predict inference evaluation train_step memory input_pipeline convolution lovasz label_majority

.PHONY: help quickstart demo weights test lint docs bench clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

# Rebuilt when the project's requirements change.
$(VENV)/ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is required; choose one with make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --upgrade pip
	$(VENV)/bin/pip install --quiet --editable '.[dev]'
	touch $@

quickstart: $(VENV)/ready  ## train on drawn faces, evaluate, predict, and parse a real photo; writes runs/quickstart
	$(RUN) --config=configs/quickstart.py --mode=train
	$(RUN) --mode=evaluate --config.evaluation.split=test
	$(RUN) --mode=predict --config.evaluation.split=test
	$(VENV)/bin/python -c "from skimage import data, io; io.imsave('runs/quickstart/astronaut.png', data.astronaut())"
	$(VENV)/bin/python main.py --mode=predict --output=runs/quickstart/portrait runs/quickstart/astronaut.png
	@echo "A real photo, parsed by the network that ships with the package: runs/quickstart/portrait/astronaut_overlay.jpg"
	@echo "What was trained on drawn faces, in runs/quickstart: curves.png, examples.png, predictions/"

demo: $(VENV)/ready  ## serve a page to drop images on, http://127.0.0.1:7860; WORKDIR=runs/x serves a parser of your own
	$(VENV)/bin/pip install --quiet --editable '.[demo]'
	$(VENV)/bin/python main.py --mode=demo $(if $(WORKDIR),--workdir=$(WORKDIR)) $(ARGS)

weights: $(VENV)/ready  ## fill dmlcsr_jax/weights/portrait, which ships with the package, from WORKDIR=runs/x
	@test -n "$(WORKDIR)" || { echo "name the run to ship: make weights WORKDIR=runs/portrait"; exit 1; }
	$(VENV)/bin/pip install --quiet --editable '.[onnx]'
	$(VENV)/bin/python main.py --mode=export --workdir=$(WORKDIR) --formats=safetensors,onnx \
		--output=dmlcsr_jax/weights/portrait $(ARGS)

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

bench: $(VENV)/ready  ## run the benchmarks that need no data, one after the other
	for name in $(BENCHMARKS); do $(VENV)/bin/python -m benchmarks.$$name || exit 1; done

clean:  ## remove the environment and built files
	rm -rf $(VENV) build docs/_api docs/_build
