# The single entry point. Everything is installed into .venv and written to build/; the rest of the machine is untouched.
PYTHON  ?= $(shell command -v python3.11 || command -v python3)
VENV    := .venv
BIN     := $(VENV)/bin
DMASH   := $(BIN)/dmash
PROFILE ?= recorded
RUNS    := runs
ENV     ?= DI
ARM     ?= dma-star-sh
SEEDS   ?= 0
STEPS   ?=
# draw figures without a display and with the same bytes everywhere
export MPLBACKEND := agg
export OMP_WAIT_POLICY := PASSIVE
# Detects a folder that was copied or moved with its .venv: its scripts would run the interpreter and code of the original.
MOVED := $(shell made=$$(grep '^command = ' $(VENV)/pyvenv.cfg 2>/dev/null); case "$$made" in \
  (""|*" $(if $(filter /%,$(VENV)),$(VENV),$(CURDIR)/$(VENV))") ;; (*) echo moved ;; esac)

.DEFAULT_GOAL := help
.PHONY: help setup test reproduce reproduce-recorded reproduce-smoke reproduce-paper train figures notebooks proofs explore play bench runs faults measure claim claims calibrate report test-gpu lock clean

help: ## this list
	@echo "make TARGET [PROFILE=recorded|smoke|paper]"
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | awk -F'\t' '{printf "  %-12s %s\n", $$1, $$2}'

setup: $(VENV)/.installed ## virtual environment with pinned packages (3 min, 2 GB of disk, CPU-only torch; more with CUDA)

ifneq "$(MOVED)" ""
.PHONY: $(VENV)/.installed
endif
$(VENV)/.installed: requirements.lock pyproject.toml
	@$(if $(MOVED),echo "make: $(VENV) was created for another folder and runs the code there; recreating it")
	@command -v "$(PYTHON)" >/dev/null || { echo "make: $(PYTHON) not found; install Python 3.11 or run make PYTHON=/path/to/python3.11"; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || { echo "make: $(PYTHON) is older than Python 3.11; run make PYTHON=/path/to/python3.11"; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "make: requirements.lock pins the versions tested with Python 3.11; $(PYTHON) installs the same versions (from 3.13 on without labmaze, which dm_control needs only for mazes) and was tested with the environments only"; }
	"$(PYTHON)" -m venv $(if $(MOVED),--clear) $(VENV)
	$(BIN)/python -m pip install -qq --no-deps -r requirements.lock
	$(BIN)/python -m pip install -qq "$$(grep '^torch==' requirements.lock)" # plus the dependencies of its CUDA build
	$(BIN)/python -m pip install -qq --no-deps -e .
	@touch $@

test: setup ## all tests, then the smoke profile (under 30 min, 2 GB)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache
	$(BIN)/basedpyright
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal
	$(MAKE) reproduce PROFILE=smoke

reproduce: setup reproduce-$(PROFILE) ## every figure, table and notebook: PROFILE=recorded from committed runs (5 min of CPU), smoke (10 min), paper (weeks)

reproduce-recorded: setup
	$(DMASH) figures --runs "$(RUNS)" --out figures
	$(DMASH) notebooks --profile recorded --runs "$(RUNS)"

reproduce-smoke: setup
	$(DMASH) smoke --out build/smoke/runs
	$(DMASH) figures --runs build/smoke/runs --out build/smoke/figures
	$(DMASH) notebooks --profile smoke --out build/smoke/notebooks

reproduce-paper: setup
	$(DMASH) sweep --profile paper --out "$(RUNS)"
	$(MAKE) reproduce-recorded

train: setup ## one block of seeds: ENV=DI ARM=dma-star-sh SEEDS="0 1" STEPS=100000 (2 h per seed on one core, 1.5 GB)
	$(DMASH) train --env $(ENV) --arm $(ARM) --seeds $(SEEDS) $(if $(STEPS),--steps $(STEPS)) --out "$(RUNS)"

figures: setup ## draw every figure from the raw runs, byte-identical if nothing changed (1 min, 1 GB)
	$(DMASH) figures --runs "$(RUNS)" --out figures

notebooks: setup ## execute every notebook that is not up to date into build/notebooks, in parallel (5 min of CPU, 1 GB per core)
	$(DMASH) notebooks --profile $(if $(filter smoke,$(PROFILE)),smoke,recorded --runs "$(RUNS)")

proofs: ## compile and re-check the Coq proofs and list the axioms they rest on (1 min, 0.6 GB; needs coqc, explains how to get it)
	$(MAKE) -C proofs

explore: setup ## interactive page on the variance of a code: build/play/variance.html, opens in any browser (10 s, 1 GB)
	$(DMASH) explore --runs "$(RUNS)" --out build/play

play: setup ## interactive page with the trained agents: build/play/index.html, opens in any browser (10 s, 1 GB)
	$(DMASH) play --runs "$(RUNS)" --out build/play

bench: setup ## speed and memory of every arm, against the straightforward twin (5 min, 2 GB)
	$(DMASH) bench

runs: setup ## train the grid of runs: PROFILE=evidence|paper HOURS=2 JOBS=2 (1 GB per job; resumes where it stopped)
	$(DMASH) sweep --profile $(if $(filter recorded,$(PROFILE)),paper,$(PROFILE)) $(if $(HOURS),--hours $(HOURS)) $(if $(JOBS),--jobs $(JOBS)) --out "$(RUNS)"

faults: setup ## inject every kind of fault into sweeps and write docs/reliability.md: TRIES=20 (30 to 60 min)
	$(BIN)/python tests/faults.py --tries $(or $(TRIES),20)

measure: setup ## measure the networks of DI for the figures: returns over the context plane, episodes, cosines (10 s); then make figures
	$(DMASH) measure --runs "$(RUNS)"

claim: setup ## check one claim: ID=T9 or ID=headline-1 (10 s to 3 min the first time, 1 GB); TRAIN=1 JOBS=2 trains its missing runs first
	$(DMASH) claims --id "$(or $(ID),$(error ID is missing, for instance: make claim ID=T9))" --runs "$(RUNS)" $(if $(TRAIN),--train --jobs $(or $(JOBS),1))

claims: setup ## the verdict on every claim, into build/claims.json (10 min of CPU the first time, 1 GB; proofs need coqc)
	$(DMASH) claims --runs "$(RUNS)" --out build/claims.json

calibrate: setup ## simulate how often the rules of the claims are wrong; writes docs/calibration.* (1 min, 1 GB)
	$(DMASH) claims --calibrate

report: claims ## web site of claims, notebooks and proofs in build/report, works offline (20 min of CPU the first time, 1 min after, 2 GB)
	$(DMASH) notebooks --profile recorded --runs "$(RUNS)"
	$(DMASH) report --out build/report --runs "$(RUNS)"

test-gpu: setup ## on a CUDA machine: test the GPU path, then measure updates per second, memory and waits into build/gpu.json
	$(BIN)/python -m pytest tests/test_gpu.py -rs
	$(DMASH) bench --device cuda --out build/gpu.json

lock: ## write requirements.lock from the installed packages
	(head -1 requirements.lock; $(BIN)/python -m pip freeze --all --exclude pip --exclude-editable | sed 's/+cpu//; s/^labmaze==.*/&; python_version < "3.13"/') > requirements.lock.new
	mv requirements.lock.new requirements.lock

clean: ## remove build/ and caches, never runs/, figures/ or the environment
	rm -rf build .pytest_cache .ruff_cache
