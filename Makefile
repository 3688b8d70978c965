# One virtual environment for everything; PYTHON picks the interpreter it is made from.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: setup check test parity bench clean

setup: $(VENV)/.dev

$(VENV)/.dev: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable ".[dev]"
	touch $@

$(VENV)/.parity: $(VENV)/.dev
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet --editable ".[dev,parity]"
	touch $@

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: setup
	$(BIN)/python -m pytest

# Compares with FlagEmbedding, transformers and Optimum themselves; installs PyTorch.
parity: $(VENV)/.parity
	$(BIN)/python -m pytest -m parity

# CHECKPOINT: a directory in BAAI/bge-m3's layout. TEXTS: JSON lines with "text" and "lang".
bench: $(VENV)/.parity
	rm -rf .cache/bench
	$(BIN)/python benchmarks/export_cost.py $(CHECKPOINT) .cache/bench --precision int8 fp32
	$(BIN)/python benchmarks/parity.py $(CHECKPOINT) --texts $(TEXTS)
	$(BIN)/python benchmarks/speed.py --checkpoint $(CHECKPOINT) \
		--int8 .cache/bench/$(notdir $(CHECKPOINT))-int8 --fp32 .cache/bench/$(notdir $(CHECKPOINT))-fp32
	$(BIN)/python benchmarks/startup.py .cache/bench/$(notdir $(CHECKPOINT))-int8
	$(BIN)/python benchmarks/end_to_end.py .cache/bench/$(notdir $(CHECKPOINT))-int8 --texts $(TEXTS)

clean:
	rm -rf $(VENV) .cache dist
