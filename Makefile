# `make` lists the targets. run, test and every check need a CPython from 3.11 to 3.13 and a network: what they
# need is installed into .venv from 3rdparty/constraints.txt, the lock in pip's format, hashes checked.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

# The first of these that starts, is new enough and can make an environment; `make PYTHON=…` names another. Looked for once, and
# only by a target that needs it.
PYTHON ?= $(eval PYTHON := $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(if $(shell $(name) -c \
	'import sys, ensurepip; print(1 if (3, 11) <= sys.version_info[:2] < (3, 14) else "")' 2>/dev/null),$(name)))))$(PYTHON)

# Not written as $(MAKE) where it is used: `make -n run` would run it, and the gateway with it.
INSTALL = $(MAKE) --silent PYTHON=$(PYTHON) $(STAMP)
FIND_PYTHON = [[ -n "$(PYTHON)" ]] || { echo "make: no CPython from 3.11 to 3.13 with ensurepip on PATH \
	(Debian: apt-get install python3-venv); or name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }

VENV := .venv
BIN := $(VENV)/bin
LOCKED := $(VENV)/.locked
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --disable-pip-version-check --progress-bar=off --no-deps
PACKAGES := packages/common packages/gateway packages/kip packages/kernel-launchers
SOURCES := packages tests build-support deploy/helm conftest.py

# Tests of a module share what it starts, so they stay in one process. `ARGS='-n 0'` runs all in one, for a debugger.
IN_PARALLEL := --numprocesses=auto --maxprocesses=4 --dist=loadscope
# One run of test-orders for each, with so many processes.
WORKERS := 1 2 4 2 4

# What a new environment for the kernels of `make run` holds, and an environment of yours in its place.
KERNEL_PACKAGES ?= ipywidgets matplotlib numpy pandas
KERNEL_PYTHON ?=

# Arguments for the program behind run, test, bench, e2e and pants: make run ARGS='--ip=0.0.0.0'.
ARGS ?=

##@ Use

run: ## start the gateway with local kernels on 127.0.0.1:8888 (ARGS=…, KERNEL_PYTHON=… for kernels of your environment)
	@$(FIND_PYTHON)
	@exec $(PYTHON) build-support/run.py --install "$(INSTALL)" --kernel-python "$(KERNEL_PYTHON)" \
		--kernel-packages "$(KERNEL_PACKAGES)" -- $(BIN)/jupyter-enterprisegateway $(ARGS)

##@ Develop

test: $(STAMP) ## unit and integration tests with a coverage report (ARGS=… for pytest)
	$(BIN)/pytest $(IN_PARALLEL) --cov --cov-report=term $(ARGS)

test-orders: $(STAMP) ## the same in random orders, with 1, 2 and 4 processes (WORKERS='…' SEED=… ARGS=… for pytest)
	@for workers in $(WORKERS); do \
		$(BIN)/pytest --numprocesses=$$workers --dist=loadscope --order-seed="$(or $(SEED),random)" $(ARGS); \
	done

lint: $(STAMP) ## ruff, import rules, and whether what is made from a source still agrees with it
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/lint-imports
	$(BIN)/python build-support/export_lock.py --check
	$(BIN)/python build-support/settings_pages.py --check
	$(BIN)/python build-support/chart_pages.py --check

format: $(STAMP) ## let ruff format the code and repair what it can
	$(BIN)/ruff check --fix-only $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

types: $(STAMP) ## mypy --strict over every package and script
	$(BIN)/mypy $(addsuffix /src,$(PACKAGES)) build-support

chart: $(STAMP) ## the Helm chart: lint, renderings, schemas of Kubernetes' releases, hardening (ARGS=… for pytest)
	$(BIN)/python build-support/chart_pages.py --check
	$(BIN)/python build-support/static_manifest.py --check
	$(BIN)/pytest $(IN_PARALLEL) tests/chart $(ARGS)
	build-support/checkov

bench: $(STAMP) ## measure against the peers; docs/performance.md says how to read it (ARGS=…)
	$(BIN)/python -m tests.bench $(ARGS)

e2e: $(STAMP) ## tests against a cluster (KUBECONFIG), a Docker engine and containerd (ARGS=… for pytest)
	$(BIN)/pytest tests/e2e $(ARGS)

##@ Build

package: ## four wheels and three PEX files into dist/ (Pants)
	./pants package ::

images: ## container images from PEX files (ARGS='--kernels r --registry … --push'; build-support/build_images --help)
	./pants package packages/gateway:pex packages/kip:pex deploy/images::
	build-support/build_images $(ARGS)

reproducible: ## whether the last commit makes the same wheels and PEX files twice, byte for byte
	build-support/reproducible

kernelspecs: ## the kernelspecs as an archive for an image of your own (ARGS='--images … --tag …')
	python3 build-support/pack_kernelspecs.py --archive dist/enterprise-gateway-kernelspecs.tar.gz $(ARGS)

pants: ## any goal of Pants: make pants ARGS='test ::'
	./pants $(ARGS)

##@ Maintain

lock: $(STAMP) ## resolve 3rdparty/*.txt anew and export it for pip
	./pants generate-lockfiles --resolve=all
	$(BIN)/python build-support/export_lock.py

docs: $(STAMP) ## write the pages that are made from the code, and the whole site into site/
	$(BIN)/python build-support/settings_pages.py
	$(BIN)/python build-support/chart_pages.py
	$(BIN)/python build-support/static_manifest.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "make: the site is site/index.html; its search works where it is served: python3 -m http.server -d site"

venv: $(STAMP) ## only install what the other targets need

clean: ## remove what was made: environment, caches, dist, site; Pants' own installation and .kernels stay
	rm -rf $(VENV) dist site .coverage* htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .pants.d .pids
	find $(SOURCES) -name __pycache__ -prune -exec rm -rf {} + -o -name '*.egg-info' -prune -exec rm -rf {} +

help:
	@awk 'BEGIN { FS = ":.*## "; print "make TARGET" } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run test test-orders lint format types chart bench e2e package images reproducible kernelspecs pants lock docs venv clean help

# Made anew, never changed in place: what an older lock installed must not linger.
$(LOCKED): 3rdparty/constraints.txt build-support/progress.awk
	@$(FIND_PYTHON)
	@echo "make: installing what the lock names into $(VENV) with $(PYTHON); about a minute, once for each lock"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --require-hashes --only-binary=:all: --requirement $< | awk -v total="$$(grep -c == $<)" -f build-support/progress.awk \
		|| { cat build-support/no_network.txt >&2; exit 1; }
	@touch $@

# The environment is for working on the packages: their sources take effect without another installation. Kernelspecs of a kernel
# that only tests start are taken out, or `make run` would offer them.
$(STAMP): $(LOCKED) $(addsuffix /pyproject.toml,$(PACKAGES))
	@echo "make: installing the packages of this repository"
	@$(PIP) --quiet --no-index --no-build-isolation $(addprefix --editable ,$(PACKAGES))
	@rm -rf $(VENV)/share/jupyter/kernels/xpython*
	@touch $@
