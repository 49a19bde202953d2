# Each target takes ARGS, handed on to the command it runs: make test ARGS="-k scar", make demo ARGS="--overload 8".
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
ARGS ?=
# What the tests need from Debian; installed by `make test` when missing.
DEBIAN_PACKAGES ?= redis-server postgresql chromium prometheus

VENV := .venv
COMPILED := .venv-compiled
BIN := $(VENV)/bin
UV := $(BIN)/uv
INSTALL := $(UV) pip install --quiet --constraints constraints.txt --build-constraints constraints.txt

PROJECTS := $(wildcard packages/*/pyproject.toml packages/*/setup.py)
SOURCES := $(sort $(shell find packages/*/src -type f \( -name '*.py' -o -name '*.pyi' -o -name '*.toml' -o -name py.typed \) 2>/dev/null))
LINTED := packages $(wildcard benchmarks docs examples)
TYPED := $(wildcard packages/*/src packages/*/tests/typing benchmarks)
# Many tests wait for servers, so there are more processes than cores; what measures an overload runs alone
# (packages/conftest.py). ARGS=-n0 runs all in one. Tests on the real clock depend on a machine that others may load: a
# test that fails is tried once more, and the summary names it.
PYTEST := -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder --reruns 1 -raR
# Both builds are tested where they may differ. The rest runs once. On the wheel: the lab's long histories, which it plays
# ten times as fast, overloads on real cores, and frameworks. On the source: what every integration does alike, little of
# which is compiled, and what does not rest on the build.
ONLY_ON_WHEEL := $(filter-out %/test_init.py,$(wildcard packages/atrion/tests/frameworks/test_*.py)) \
	$(addprefix packages/atrion/tests/,conformance/test_load.py integration/test_thread_pool.py integration/test_cpu_bound.py)
ONLY_ON_SOURCE := $(addprefix packages/,atrion/tests/migrate atrion/tests/integration/test_packaging.py \
	atrion/tests/conformance/test_conformance.py atrion/tests/docs/test_tutorial.py \
	atrion/tests/frameworks/test_init.py atrion-studio/tests/test_browser.py)
ON_SOURCE := packages/atrion/tests packages/atrion-cluster/tests packages/atrion-studio/tests packages/atrion-vendor/tests \
	packages/atrion-lab/tests/test_simulator.py packages/atrion-lab/tests/test_sensitivity.py \
	$(addprefix --ignore=,$(ONLY_ON_WHEEL))
ON_WHEEL := packages/atrion/tests packages/atrion-lab/tests packages/atrion-studio/tests \
	$(wildcard packages/atrion-cluster/tests/*/test_contract.py packages/atrion-cluster/tests/*/test_provider*.py) \
	$(addprefix --ignore=,$(ONLY_ON_SOURCE))
# The part of the package whose coverage is held at 95%.
CORE := */atrion/physics/*,*/atrion/sensing/*,*/atrion/state/*,*/atrion/control/*,*/atrion/providers/*,*/atrion/engine*

# Settings of the caller's shell must not decide what is built here.
unexport ATRION_COMPILE PYTHONPATH PYTHONHOME VIRTUAL_ENV

FORCE:
.PHONY: FORCE help env compiled demo studio test check bench lab tables docs dist lock clean
.DEFAULT_GOAL := help

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env: $(VENV)/.stamp ## Make .venv: the packages from source, and every tool

compiled: $(COMPILED)/.stamp ## Make .venv-compiled: the core and the lab from their wheels, the core compiled

demo: $(COMPILED)/.stamp studio ## Show a service at four times its capacity, without and with Atrion
	@$(COMPILED)/bin/atrion demo $(ARGS)

studio: $(VENV)/.stamp ## Bundle the dashboard's front end where it has changed
	@cd packages/atrion-studio && $(abspath $(BIN))/python setup.py --quiet bundle

test: check studio $(COMPILED)/.stamp ## Check, then test the source and the compiled wheel
	@scripts/debian-packages $(DEBIAN_PACKAGES)
	@echo "Testing the source."
	@rm -f .coverage
	@$(BIN)/python $(PYTEST) --cov --cov-report= $(or $(strip $(ARGS)),$(ON_SOURCE))
ifeq ($(strip $(ARGS)),)
	@echo "Coverage of the core, which must be 95%:"
	@$(BIN)/coverage report --include='$(CORE)' --fail-under=95
endif
	@echo "Testing the compiled wheel."
	@$(COMPILED)/bin/python $(PYTEST) $(or $(strip $(ARGS)),$(ON_WHEEL))

check: $(VENV)/.stamp ## Check style, types, layers and the documentation's links
	@echo "Checking style."
	@$(BIN)/ruff check --quiet $(LINTED)
	@$(BIN)/ruff format --quiet --check $(LINTED) || \
		{ echo "Some files are not formatted; run: $(BIN)/ruff format $(LINTED)"; exit 1; }
	@echo "Checking types."
	@$(BIN)/mypy --no-error-summary $(TYPED)
	@PATH="$(abspath $(BIN)):$$PATH" basedpyright --ignoreexternal --verifytypes atrion >$(VENV)/verifytypes.txt || \
		{ grep -E 'error|score' $(VENV)/verifytypes.txt; exit 1; }
	@echo "Checking layers."
	@$(BIN)/lint-imports --no-cache >$(VENV)/lint-imports.txt 2>&1 || { cat $(VENV)/lint-imports.txt; exit 1; }
	@echo "Checking the documentation."
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --clean --site-dir $(abspath $(VENV))/site

bench: $(VENV)/.stamp $(COMPILED)/.stamp ## Measure both builds beside other libraries
	@$(COMPILED)/bin/python -m benchmarks --pure-python $(BIN)/python $(ARGS)

lab: $(COMPILED)/.stamp ## Run the lab again and keep what its pages show (about twenty minutes)
	@scripts/lab-docs $(COMPILED)/bin $(BIN) $(ARGS)

tables: $(VENV)/.stamp $(COMPILED)/.stamp ## Run demo and bench again and keep what README and docs show
	@scripts/tables $(COMPILED)/bin $(BIN)/python $(ARGS)

docs: $(VENV)/.stamp ## Build the documentation into site/, warnings being errors
	@echo "Building the documentation into site/."
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --clean $(ARGS)

dist: $(VENV)/.stamp ## Build every distribution into dist/, check it, and try it in empty environments
	@scripts/debian-packages redis-server
	@$(BIN)/python scripts/dist $(ARGS)

lock: $(VENV)/.stamp ## Pin the newest versions of all dependencies in constraints.txt
	@echo "Pinning versions in constraints.txt."
	@$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --no-annotate \
		$(addprefix --no-emit-package ,$(notdir $(patsubst %/pyproject.toml,%,$(wildcard packages/*/pyproject.toml)))) \
		--custom-compile-command "make lock" --all-extras --group dev --group bench --group docs \
		packages/*/pyproject.toml --output-file constraints.txt $(ARGS) >/dev/null

clean: ## Remove everything that the other targets made
	@echo "Removing environments, builds and caches."
	@rm -rf $(VENV) $(COMPILED) dist site packages/*/build packages/*/dist packages/atrion-studio/frontend/node_modules packages/atrion-studio/src/atrion_studio/static packages/*/src/*.egg-info packages/*/.*_cache
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage htmlcov
	@find packages $(wildcard benchmarks docs examples) -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.stamp: pyproject.toml constraints.txt $(PROJECTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Atrion needs Python 3.11 or newer; name one: make PYTHON=python3.12 env" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "Python's venv module is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "Setting up $(VENV)." >&2
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@ATRION_COMPILE=0 $(INSTALL) --python $(BIN)/python --group dev --group bench --group docs \
		--editable 'packages/atrion[asgi,demo,lab,workers]' \
		--editable packages/atrion-lab --editable packages/atrion-cluster --editable packages/atrion-studio --editable packages/atrion-vendor
	@# Found where an installed package is, beside what it depends on.
	@ln -sfn $(abspath packages/atrion/src/atrion) \
		$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/atrion
	@touch $@

# Changes when a source is added, removed or renamed, which leaves no newer file behind.
$(VENV)/.sources: $(VENV)/.stamp FORCE
	@printf '%s\n' $(SOURCES) | cmp --silent - $@ || printf '%s\n' $(SOURCES) >$@

$(COMPILED)/.stamp: $(VENV)/.stamp $(VENV)/.sources $(SOURCES)
	@echo "Compiling the wheel into $(COMPILED)." >&2
	@$(BIN)/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("include"), "Python.h").stat()' 2>/dev/null || \
		scripts/debian-packages python3-dev
	@rm -rf packages/*/build dist
	@for package in atrion atrion-lab; do \
		ATRION_COMPILE=1 $(UV) build --wheel --python $(BIN)/python --build-constraints constraints.txt \
		--out-dir dist packages/$$package >$(VENV)/compile.txt 2>&1 || { cat $(VENV)/compile.txt >&2; exit 1; }; done
	@$(COMPILED)/bin/python -c '' 2>/dev/null || $(UV) venv --quiet --clear --python $(BIN)/python $(COMPILED)
	@wheel=$$(echo dist/atrion-*.whl); \
		$(INSTALL) --python $(COMPILED)/bin/python --group test --group bench \
		--no-sources --reinstall-package atrion --reinstall-package atrion-lab \
		"$$wheel[asgi,demo,lab,workers]" dist/atrion_lab-*.whl \
		--editable packages/atrion-cluster --editable packages/atrion-studio --editable packages/atrion-vendor
	@touch $@
