# make demo: the whole job on generated rooms      make test: the tests      make test-ci: long fits too      make test-slow: all      make check: format, lint, types, imports      make docs: the site of the documents      make bench: the short benchmarks      make browser: what the page of docs/browser needs
.PHONY: demo test test-ci test-slow bench browser check docs format clean
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PAGE   := docs/browser
# pip compiles nothing ahead: what is imported is compiled once, where an environment does not forbid it, and then every process would.
export PYTHONDONTWRITEBYTECODE :=
# A process that dies ends the run and names its test: pytest-xdist 3.8.0 starts another one that may wait forever (its issue 1327).
PARALLEL := -n 2 --max-worker-restart 0 --dist loadfile --no-loadscope-reorder

help:
	@head -n 1 Makefile

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, found " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --no-compile --editable . --group dev --constraint constraints.txt
	@touch $(READY)

demo: $(READY)
	$(BIN)/python -m ensemble.demo

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) -m "not slow"

test-ci: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) -m "not long"

test-slow: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL)

bench: $(READY)
	$(BIN)/python -m benchmarks

browser: $(PAGE)/vendor/ort.wasm.min.js

$(PAGE)/vendor/ort.wasm.min.js: $(PAGE)/package.json
	npm install --prefix $(PAGE) --no-audit --no-fund --ignore-scripts --no-package-lock
	mkdir -p $(PAGE)/vendor
	cd $(PAGE)/node_modules/onnxruntime-web/dist && cp ort-wasm-simd-threaded.mjs ort-wasm-simd-threaded.wasm $(CURDIR)/$(PAGE)/vendor
	cp $(PAGE)/node_modules/onnxruntime-web/dist/ort.wasm.min.js $@ && touch $@

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo site/index.html

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist site .pytest_cache .ruff_cache .hypothesis
