# The commands of this project; `make help` lists them.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup train test test-long test-extras lint format data-check sheet figures bench attack page serve clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1|/' | awk -F'|' '{printf "%-20s %s\n", $$1, $$2}'

# The stamp is newer than the requirements once they are installed.
$(VENV)/installed: requirements.txt
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit("Python 3.11, 3.12 or 3.13 is needed, for TensorFlow: make PYTHON=python3.13 ...")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/installed-dev: requirements/dev.txt requirements/video.txt $(VENV)/installed
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	touch $@

$(VENV)/installed-onnx: requirements/onnx.txt $(VENV)/installed
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements/onnx.txt
	touch $@

setup: $(VENV)/installed ## create .venv and install requirements.txt

train: setup ## train the chapter's network on data/drinks
	$(RUN) fcn-12.3.1.py --train

# On JAX one network of each file that has layers of our own besides convolutions, with max-unpooling
# and deep supervision, which learn in two ways more; the layers whose gradients are ours, and that they
# are taken; Muon; the memory that a step takes; batches that are filled up; steps handed over ahead.
BY_HEART := test_one_batch_can_be_learnt_by_heart
ON_JAX := tests/test_family.py 'tests/test_segnet.py::$(BY_HEART)[segnet-basic]' tests/test_unetplusplus.py::$(BY_HEART) \
	tests/test_layers.py tests/test_muon.py tests/test_memory.py tests/test_forward.py tests/test_trainer.py
STOCK := gcn or refinenet or fpn or sliding or v3plus
ONLY := (gradient or by_heart or that_of_keras or compiler or fewer_pictures or muon or switch or no_step_waits) and not ($(STOCK))
# XLA compiles longer than these tests compute: level 0 does it in a third of the time.
JAX := KERAS_BACKEND=jax XLA_FLAGS=--xla_backend_optimization_level=0

test: lint ## style, and every test that is not long
	$(RUN) -m pytest -n 2 --dist loadfile --durations 15 -m 'not long'

test-long: $(VENV)/installed-dev ## trainings, kills, attacks, whole commands; our own layers on JAX
	$(RUN) -m pytest -n 2 --dist worksteal --durations 15 -m long $$(grep -rl mark.long tests --include=*.py)
	$(JAX) $(RUN) -m pytest -n 2 --dist worksteal -k '$(ONLY)' $(ON_JAX)

EXTRAS := onnx openvino litert browser
test-extras: $(VENV)/installed-dev ## exports in every format, and the page in Chromium (chromium-driver, npm)
	$(RUN) -m pip install --quiet --disable-pip-version-check $(EXTRAS:%=-r requirements/%.txt)
	$(RUN) -m pytest tests/test_export.py tests/test_page.py

lint: $(VENV)/installed-dev ## style alone
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: $(VENV)/installed-dev ## bring the style into order
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

data-check: setup ## check the annotations and pictures of data/drinks
	$(RUN) utils/verify_dataset.py

sheet: setup ## draw a contact sheet of data/drinks
	$(RUN) utils/show_dataset.py

figures: setup ## draw the reading guide's figures anew, from the weights and the history in weights/
	$(RUN) utils/plot_history.py --chapter --history ResNet56v2-3layer-drinks-history.csv --output chapter12-segmentation/figures/curves.png
	$(RUN) fcn-12.3.1.py --evaluate --restore-weights=ResNet56v2-3layer-drinks-best-iou.weights.h5 --portrait --prediction-dir chapter12-segmentation/figures
	$(RUN) chapter12-segmentation/tools/upsampling.py
	$(RUN) chapter12-segmentation/tools/crf.py data/drinks/0010008.jpg weights/ResNet56v2-3layer-drinks-best-iou.weights.h5 --out chapter12-segmentation/figures/crf.jpg

bench: setup ## measure speed against plain Keras and PyTorch: benchmarks/results.md
	$(RUN) benchmarks/bench.py

attack: $(VENV)/installed-dev ## give the program 30,000 mutated files of every kind: SECURITY.md
	$(RUN) tests/attacks/attack.py

page: $(VENV)/installed-onnx ## put together the page that segments in a browser, in page/ (npm)
	$(RUN) chapter12-segmentation/tools/page.py

serve: ## show that page at http://127.0.0.1:8000
	$(RUN) chapter12-segmentation/tools/page.py --serve

clean: ## delete .venv and what the tools cached
	rm -rf $(VENV) .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
