# `make` prints every target. The first call of any of them creates .venv from pyproject.toml under constraints.txt.
PYTHON ?= python3
VENV   ?= .venv
SCALE  ?= laptop
PAPER  ?=
ARGS   ?=
KEY    ?=
SWEEP  ?=
NAME   ?=
AGAINST ?=
PY     := $(VENV)/bin/python
READY  := $(VENV)/.ready
BENCH  := $(VENV)/.bench
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help env test test-all lint format bench compare report wandb-sync promote lock index clean-cache reproduce-all render-all plan-all

help: ## this list
	@echo "usage: make TARGET [SCALE=smoke|laptop|long|gpu|paper] [PAPER=nf_nqs] [ARGS='--only N30-L15 --jobs 2 key=value']"
	@echo
	@grep -hE '^[a-zA-Z_%<>-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([^:]+):.*## /\1|/' | awk -F'|' '{printf "  %-22s %s\n", $$1, $$2}'
	@echo "  reproduce-NAME         compute what is missing and write the report: NAME = table1, nf_nqs-table1, ..."
	@echo "  plan-NAME              what is cached, what would run, how long it takes"
	@echo "  render-NAME            the report anew from its own files: today's text and verdicts, nothing computed"

env: $(READY) ## create or update .venv

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "Python 3.11 to 3.13 is needed, this is %d.%d; try make PYTHON=python3.12" % v)'
	@echo "setting up $(VENV) (a few minutes the first time)"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[exact,report,wandb,dev,sweep]'
	@touch $@

$(BENCH): $(READY)
	@$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@

test: lint ## ruff, mypy and the tests: units, and every artefact at smoke scale
	$(PY) -m pytest -n 2 --dist worksteal

test-all: lint ## the same with the thorough tests: sweeps killed many times, every artefact twice
	$(PY) -m pytest -n 2 --dist worksteal -m ""

lint: $(READY) ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy pipeline reproduce benchmarks tests nqs

format: $(READY) ## rewrite the source in the house format
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

reproduce-%: $(READY)
	@$(PY) -m reproduce $* --scale $(SCALE) $(if $(PAPER),--paper $(PAPER)) $(ARGS)

plan-%: $(READY)
	@$(PY) -m reproduce $* --scale $(SCALE) $(if $(PAPER),--paper $(PAPER)) --plan $(ARGS)

render-%: $(READY)
	@$(PY) -m reproduce $* --scale $(SCALE) $(if $(PAPER),--paper $(PAPER)) --render $(ARGS)

reproduce-all: $(READY) ## every artefact of every paper
	@$(PY) -m reproduce all --scale $(SCALE) $(ARGS)

render-all: $(READY) ## every report anew, without computing
	@$(PY) -m reproduce all --scale $(SCALE) --render $(ARGS)

plan-all: $(READY) ## plans of every artefact
	@$(PY) -m reproduce all --scale $(SCALE) --plan $(ARGS)

index: $(READY) ## pages of all results, arena, which method when and the README's table, from the reports that are there
	@$(PY) -c 'from pathlib import Path; from reproduce.index import write_index; write_index(Path("results"), anew=True)'
	@$(PY) -c 'from pathlib import Path; from reproduce.readme import update; update(Path("."))'

compare: $(READY) ## numbers here against those of the last commit: AGAINST=a commit, a results folder or a clone, NAME=table1
	@$(PY) -m reproduce.compare $(NAME) --scale $(SCALE) $(if $(PAPER),--paper $(PAPER)) $(if $(AGAINST),--against $(AGAINST)) $(ARGS)

report: $(READY) ## table, plots and extrapolations of a sweep: SWEEP=results/_hydra/sweep/TIME or SWEEP='key=value ...'
	@$(PY) -m pipeline.stages.sweep_report $(SWEEP) $(ARGS)

wandb-sync: $(READY) ## upload the offline W&B runs below results/; ARGS=--dry-run lists them
	@$(PY) -m pipeline.stages.wandb_sync $(ARGS)

bench: $(BENCH) ## our code against NetKet, about 10 minutes; NAME=local_energies for one table, see benchmarks/
	@$(PY) -m benchmarks $(NAME) $(ARGS)

promote: $(READY) ## commit a long reference or trained state: KEY='key ...'; without KEY, list what there is
	@$(PY) -m pipeline.stages.promote $(KEY)

lock: $(BENCH) ## write constraints.txt from what .venv has now
	@{ head -n 1 constraints.txt; $(PY) -m pip freeze --exclude-editable | sed 's/+cpu//'; } > constraints.new && mv constraints.new constraints.txt

clean-cache: ## drop all working data below results/ (store, logs, W&B); committed reports stay
	rm -rf results/_*
