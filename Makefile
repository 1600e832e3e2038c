# The short form of the commands; `python -m ops --help` has every option, and CI runs the same ones.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

STACK ?= dev
BASE ?= origin/main
VENV := .venv
PYTHON := $(VENV)/bin/python
OPS := $(PYTHON) -m ops
export PULUMI_SKIP_UPDATE_CHECK := true
# Images for CI set it. Without bytecode, each start of Python compiles the SDKs anew: ten seconds for prod's.
unexport PYTHONDONTWRITEBYTECODE
# Pulumi's Python language host runs `uv`.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help up down env media-sync phase0 handoff verify plan golden diff policy preview deploy drift release tunnel test test-unit test-cluster servers check format

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Python 3.11 where the machine has it (.python-version), else a newer one.
SYSTEM_PYTHON := $(shell command -v python3.11 || uv python find --no-project '>=3.11' 2>/dev/null || command -v python3)
# The uv that the lock names, as a requirement with its hashes.
LOCKED_UV := import tomllib; uv = next(p for p in tomllib.load(open("uv.lock", "rb"))["package"] if p["name"] == "uv"); \
  print("uv==" + uv["version"], *("--hash=" + wheel["hash"] for wheel in uv["wheels"]))

$(VENV)/.installed: pyproject.toml uv.lock
	@$(or $(SYSTEM_PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: install python3 and python3-venv"; exit 1; }
	@if command -v uv >/dev/null; then [ -x $(PYTHON) ] || uv venv --quiet --python $(SYSTEM_PYTHON) $(VENV); \
	else $(SYSTEM_PYTHON) -m venv $(VENV) && $(PYTHON) -c '$(LOCKED_UV)' | \
	  $(PYTHON) -m pip install --quiet --require-hashes -r /dev/stdin; fi
	uv sync --quiet --locked --inexact --python $(PYTHON)
	@touch $@

up: $(VENV)/.installed ## bring a local stack up: servers, schemas, roles, grants, proof, env files; REMOVE=1 confirms removals
	@$(OPS) up --stack $(STACK) $(if $(REMOVE),--remove)

down: $(VENV)/.installed ## stop a local stack; WIPE=1 removes its data too
	@$(OPS) down --stack $(STACK) $(if $(WIPE),--wipe)

env: $(VENV)/.installed ## write the env file of SERVICE; ALL=1: of a whole WORKSPACE (CHECK=1 only looks)
	@$(OPS) env --stack $(STACK) $(if $(ALL),--all $(if $(WORKSPACE),--workspace "$(WORKSPACE)") $(if $(CHECK),--check),--service "$(SERVICE)")

media-sync: $(VENV)/.installed ## copy the folder FROM to the bucket and compare; DRY_RUN=1 copies nothing
	@$(OPS) media-sync --stack $(STACK) --from "$(FROM)" $(if $(DRY_RUN),--dry-run)

phase0: $(VENV)/.installed ## measure the Phase 0 criteria; PAYLOAD_URL=<its /api>, WORKSPACE=<folder>
	@$(OPS) phase0 --stack $(STACK) $(if $(WORKSPACE),--workspace "$(WORKSPACE)") $(if $(PAYLOAD_URL),--payload-url "$(PAYLOAD_URL)")

handoff: $(VENV)/.installed ## write the handoff to Phase 1 from what phase0 measured
	@$(OPS) handoff --stack $(STACK)

verify: $(VENV)/.installed ## prove the running platform; OUTSIDE=1 only what visitors see; JSON=1 for a program to read
	@$(OPS) verify --stack $(STACK) $(if $(OUTSIDE),--outside) $(if $(JSON),--json)

plan: $(VENV)/.installed ## write the offline plan to build/$(STACK)/
	@$(OPS) plan --stack $(STACK)

golden: $(VENV)/.installed ## write the golden plans again, for review
	@$(OPS) golden

diff: $(VENV)/.installed ## what changes against BASE=<ref>, for a reviewer
	@$(OPS) diff --base $(BASE) $(if $(JSON),--json)

policy: $(VENV)/.installed ## check the offline plan against the policy pack
	@$(OPS) policy --stack $(STACK)

preview: $(VENV)/.installed ## pulumi preview, with checks before it starts
	@$(OPS) preview --stack $(STACK)

deploy: $(VENV)/.installed ## preview, confirm, pulumi up, verify
	@$(OPS) deploy --stack $(STACK)

drift: $(VENV)/.installed ## refresh, expect no changes, verify: what somebody changed by hand
	@$(OPS) drift --stack $(STACK)

release: $(VENV)/.installed ## name the IMAGE of SERVICE and show what that changes; MIGRATION_IMAGE=<image>
	@$(OPS) release --stack $(STACK) --service "$(SERVICE)" --image "$(IMAGE)" --migration-image "$(MIGRATION_IMAGE)"

tunnel: $(VENV)/.installed ## forward a local port to the private RDS through TARGET=<instance>
	@$(OPS) tunnel --stack $(STACK) --target "$(TARGET)"

servers: $(VENV)/.installed ## install and build what the tests run against
	@tests/servers.sh

# Four workers on two cores: tests of servers wait as much as they compute. The folders' order puts the longest first.
# The cluster's tests wait half of their time, and measure what clients notice: beside them the unit tests, on what is left.
TEST_UNIT := nice -n 19 $(PYTHON) -m pytest -n 2 tests/unit
test: $(VENV)/.installed servers ## every test that needs no cloud account
	failed=0; \
	$(PYTHON) -m pytest -n 4 --dist loadfile --no-loadscope-reorder --ignore=tests/cluster \
	  $(or $(PYTEST),--ignore=tests/unit) || failed=1; \
	$(if $(PYTEST),,\
	  output=$$(mktemp); $(TEST_UNIT) >"$$output" 2>&1 & unit=$$!; \
	  $(PYTHON) -m pytest tests/cluster -m "not slow" || failed=1; \
	  wait $$unit || failed=1; cat "$$output"; rm "$$output";) \
	exit $$failed

test-unit: $(VENV)/.installed ## the tests that start no server
	$(TEST_UNIT) $(PYTEST)

test-cluster: $(VENV)/.installed ## the platform's pods on a real Kubernetes of two nodes, as root
	nice $(PYTHON) -m tests.cluster.build
	REQUIRE_CLUSTER=1 $(PYTHON) -m pytest tests/cluster $(PYTEST)

check: $(VENV)/.installed ## formatting, lint and types
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

format: $(VENV)/.installed ## format, and fix what ruff can
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .
