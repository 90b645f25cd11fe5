# make demo    a virtual environment, the package, and one run from raw text to a trained model
# make quick   the tests of what is touched most: readers, runner, stages
# make test    the tests, all of them
# make docs    the documentation as a site, in build/site
# make check   what CI runs: lint, types, tests (which make the site too)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# Two workers: more would only fight over the cores that the tests' own workers use.
PYTEST_WORKERS ?= 2

.PHONY: demo quick test lint types docs check clean

demo: $(VENV)/.demo
	$(BIN)/dolma run configs/quickstart.yaml

quick: $(VENV)/.test
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) -m 'not e2e and not slow and not property' $(ARGS) \
	    $(addprefix tests/data/test_,documents.py discovery.py dataset.py manifest.py attributes.py exchange.py) \
	    $(addprefix tests/runner/test_,stage.py ledger.py inputs.py local.py) tests/taggers/test_tag.py \
	    tests/dedupe/test_dedupe.py tests/mixers/test_mix.py tests/mixers/test_rules.py tests/tokens/test_tokenize.py \
	    tests/stats/test_stat.py $(addprefix tests/test_,config.py graph.py pipeline.py layout.py)

test: $(VENV)/.test
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) $(ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	$(BIN)/mypy

docs: $(VENV)/.test
	$(BIN)/mkdocs build

check: lint types test

clean:
	rm -rf $(VENV) runs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dolma needs Python 3.11 or newer; this is %s\n  name one: make PYTHON=python3.11 ..." % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing dolma into $(VENV) (once)"
	$(PIP) -e '.[fast,train]'
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing dolma and what its tests need into $(VENV) (once)"
	$(PIP) -e '.[fast,train,ray,s3,hf,onnx,perplexity,dev]'
	@touch $@
