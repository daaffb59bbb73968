# Each target does all its own set-up in a virtual environment; Python 3.11 or newer is all that must be there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test check sticker-base tuned-bases clean

demo: $(VENV)/installed
	$(BIN)/safegen demo --out demo-out

test: $(VENV)/installed-dev check
	$(BIN)/python -m pytest -n 2

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

sticker-base: $(VENV)/installed-dev
	$(BIN)/python -m safegen.training.sticker

tuned-bases: $(VENV)/installed-dev
	$(BIN)/python -m safegen.training.sticker.finetune watercolour --register
	$(BIN)/python -m safegen.training.sticker.finetune dusk --register

$(VENV)/created:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/installed: $(VENV)/created pyproject.toml
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed pyproject.toml
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev,train,audit,postgresql,serve]'
	touch $@

clean:
	rm -rf $(VENV) demo-out out
