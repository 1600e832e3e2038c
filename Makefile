# The commands of this project; the README explains them and CI runs the same ones.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

STACK ?= dev
BASE ?= origin/main
VENV := .venv
PYTHON := $(VENV)/bin/python
OPS := $(PYTHON) -m ops
export PULUMI_SKIP_UPDATE_CHECK := true

.PHONY: help drift up down plan golden diff policy preview deploy verify env tunnel test test-unit servers check format lock

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: requirements-dev.txt
	@command -v python3 >/dev/null || { echo "Python 3.11 or newer is needed; install python3 and python3-venv"; exit 1; }
	python3 -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --require-hashes -r requirements-dev.txt
	@touch $@

up: $(VENV)/.installed ## bring a local stack up: servers, schemas, roles, grants, proof, env files
	@$(OPS) up --stack $(STACK)

down: $(VENV)/.installed ## stop a local stack; WIPE=1 removes its data too
	@$(OPS) down --stack $(STACK) $(if $(WIPE),--wipe)

plan: $(VENV)/.installed ## write the offline plan to build/$(STACK)/
	@$(OPS) plan --stack $(STACK)

golden: $(VENV)/.installed ## write the golden plans of both stacks again, for review
	@$(OPS) golden

diff: $(VENV)/.installed ## what changes against BASE=<ref>, for a reviewer
	@$(OPS) diff --base $(BASE) $(if $(JSON),--json)

policy: $(VENV)/.installed ## hold the offline plan against the policy pack
	@$(OPS) policy --stack $(STACK)

preview: $(VENV)/.installed ## pulumi preview, with checks before it starts
	@$(OPS) preview --stack $(STACK)

deploy: $(VENV)/.installed ## preview, confirm, pulumi up, verify
	@$(OPS) deploy --stack $(STACK)

drift: $(VENV)/.installed ## refresh, expect no changes, verify: what somebody changed by hand
	@$(OPS) drift --stack $(STACK)

verify: $(VENV)/.installed ## prove the running platform against the product table
	@$(OPS) verify --stack $(STACK) $(if $(JSON),--json)

env: $(VENV)/.installed ## write the env file of SERVICE
	@$(OPS) env --stack $(STACK) --service "$(SERVICE)"

tunnel: $(VENV)/.installed ## forward a local port to the private RDS through TARGET=<instance>
	@$(OPS) tunnel --stack $(STACK) --target "$(TARGET)"

servers: ## install and build what the tests run against
	@tests/servers.sh

# Three workers on two cores: the engine's tests wait as much as they compute. The folders' order puts them first.
test: $(VENV)/.installed servers ## every test that needs no cloud account
	$(PYTHON) -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(PYTEST)

test-unit: $(VENV)/.installed ## the tests that start no server
	$(PYTHON) -m pytest -n 2 tests/unit $(PYTEST)

check: $(VENV)/.installed ## formatting, lint and types
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

format: $(VENV)/.installed ## format and mend what ruff can
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

UV_COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links
lock: ## write the lock files again from pyproject.toml (needs uv)
	$(UV_COMPILE) pyproject.toml -o requirements.txt
	$(UV_COMPILE) pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt
