# One virtual environment for everything; PYTHON picks the interpreter it is made from.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: setup check test parity docs oldest outdated bench bench-all clean

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

# The kernels are compiled first: in a test a compilation would be a line on stderr, and a minute that looks like its own.
test: setup
	$(BIN)/python -m m3rt_kernels
	$(BIN)/python -m pytest

# Compares with FlagEmbedding, transformers and Optimum themselves; installs PyTorch.
parity: $(VENV)/.parity
	$(BIN)/python -m pytest -m parity

# The pages of docs/, and the reference from the docstrings, as a site in dist/docs.
docs: setup
	$(BIN)/python -m zensical build --strict

# The tests with the oldest versions that pyproject.toml allows, in an environment of their own.
oldest: setup
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .oldest
	$(BIN)/uv pip install --quiet --python .oldest/bin/python --resolution lowest-direct --editable ".[dev]"
	.oldest/bin/python -m m3rt_kernels
	.oldest/bin/python -m pytest

# The weekly look: packages of which newer versions are out. make clean, setup, test: whether m3rt works with them.
outdated: setup
	$(BIN)/pip list --outdated

# m3rt beside its peers, from nothing but package registries: benchmarks/results/. About 40 minutes, 25 GB of disk, and
# 20 GB of memory while bge-m3-lite quantizes itself.
# CHECKPOINT: a directory in BAAI/bge-m3's layout instead of random weights; HUB=BAAI/bge-m3 downloads the real ones.
# ENGINES: of m3rt, as loaded without m3rt tune. PEERS: those of benchmarks/encoder/peer_models.py; all at once take 30 GB.
CHECKPOINT ?= .cache/bench/$(if $(HUB),$(notdir $(HUB)),random)
ENGINES ?= openvino onnxruntime
PEERS ?= flag st-openvino-default st-openvino-int8 lite-int8
REPEATS ?= 5
BENCH = .bench/bin/python
BUNDLES = .cache/bench/$(notdir $(CHECKPOINT:/=))

bench: .bench/.installed
	test -e $(CHECKPOINT)/pytorch_model.bin || $(BENCH) -m benchmarks.inputs.make_checkpoint $(CHECKPOINT) $(addprefix --hub ,$(HUB))
	rm -rf $(BUNDLES)-int8 $(BUNDLES)-fp32
	for p in int8 fp32; do .bench/bin/m3rt export $(CHECKPOINT) $(BUNDLES)-$$p --precision $$p || exit 1; done
	test -e $(BUNDLES)-lite/model_int8.onnx || \
		(rm -rf $(BUNDLES)-lite $(BUNDLES)-part; $(BENCH) -m benchmarks.inputs.build_lite $(CHECKPOINT) $(BUNDLES)-part && \
		mv $(BUNDLES)-part $(BUNDLES)-lite)
	M3RT_TUNE=0 $(BENCH) -m benchmarks.encoder.peers --checkpoint $(CHECKPOINT) --lite $(BUNDLES)-lite \
		--work $(BUNDLES)-peers --repeats $(REPEATS) --out benchmarks/results/peers --peers $(PEERS) \
		$(foreach e,$(ENGINES),--m3rt $(BUNDLES)-int8:$(e)) --m3rt $(BUNDLES)-fp32:onnxruntime
	$(BENCH) -m benchmarks.encoder.peers_chart benchmarks/results/peers.json benchmarks/results/peers

# The README's other numbers, measured on the bundles of bench. TEXTS: JSON lines with "text" and "lang" in several
# languages; without it the last two scripts are left out.
bench-all: bench
	rm -rf $(BUNDLES)-cost && $(BENCH) -m benchmarks.encoder.export_cost $(CHECKPOINT) $(BUNDLES)-cost && rm -rf $(BUNDLES)-cost
	for e in $(ENGINES); do for s in startup cold_start; do \
		M3RT_TUNE=0 $(BENCH) -m benchmarks.encoder.$$s $(BUNDLES)-int8 --engine $$e || exit 1; done; done
ifdef TEXTS
	$(BENCH) -m benchmarks.encoder.parity $(CHECKPOINT) --texts $(TEXTS)
	for e in $(ENGINES); do \
		M3RT_TUNE=0 $(BENCH) -m benchmarks.encoder.end_to_end $(BUNDLES)-int8 --texts $(TEXTS) --engine $$e || exit 1; done
endif

.bench/.installed: benchmarks/requirements.txt pyproject.toml
	test -e .bench/bin/pip || $(PYTHON) -m venv .bench
	echo '*' > .bench/.gitignore
	.bench/bin/pip install --quiet --requirement benchmarks/requirements.txt --editable ".[cpu,openvino,export]"
	touch $@

clean:
	rm -rf $(VENV) .oldest .bench .cache dist
