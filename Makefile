# llmserve. Needs GNU make 3.81 or newer, git and Python 3.11 or newer; everything else it brings into .venv itself.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The Python that makes .venv; left empty, the first of these that is new enough.
PYTHON ?=
STACK ?=
ARGS ?=
# A file of requests for `make simulate`.
TRACE ?=
# Folders for `make test-real`: Helm charts, files of custom resource definitions, and answers of the providers.
CHARTS ?=
CRDS ?=
ANSWERS ?=

PYTHONS := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)
STACKS := $(patsubst Pulumi.%.yaml,%,$(wildcard Pulumi.*.yaml))
VENV := .venv
RUN := $(VENV)/bin/python -m
PIP_INSTALL := $(RUN) pip install --quiet --disable-pip-version-check

# An Output in an f-string is an error, not a sentence that ends up in a resource.
export PULUMI_ERROR_OUTPUT_STRING := 1

NEEDS_STACK := $(filter up unstick destroy bootstrap doctor smoke live-drill,$(MAKECMDGOALS))
ifneq ($(NEEDS_STACK),)
ifeq ($(STACK),)
$(error `make $(firstword $(NEEDS_STACK))` needs a stack: make $(firstword $(NEEDS_STACK)) STACK=... (there are: $(STACKS)))
endif
endif

.PHONY: help setup preview test test-long test-real check bench tables simulate drill bootstrap doctor up smoke live-drill unstick destroy pin prices clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/development.stamp ## Make .venv with everything; the other commands do that themselves

preview: $(VENV)/runtime.stamp ## Show all that `pulumi up` would make, offline: [STACK=prod] [ARGS="--format json"]
	@$(RUN) preview $(or $(STACK),prod) $(ARGS)

test: $(VENV)/development.stamp ## Prove that it works, without a cloud: [ARGS="-k smoke"]
	@$(RUN) pytest $(ARGS)

test-long: $(VENV)/development.stamp ## Try many more random stacks, 2,000 of them as whole programs; half an hour [ARGS=...]
	@LLMSERVE_TEST_LONG=1 $(RUN) pytest tests/test_properties.py $(ARGS)

test-real: $(VENV)/development.stamp ## Hold it against every real program on PATH, and say which were not there: [CHARTS=DIR CRDS=DIR ANSWERS=DIR]
	@CHARTS="$(CHARTS)" CRDS="$(CRDS)" ANSWERS="$(ANSWERS)" $(RUN) pytest tests/real $(ARGS)

check: $(VENV)/development.stamp ## Lint, formatting and types
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy .

bench: $(VENV)/development.stamp ## Time the preview against the bare SDK, and the simulator: [ARGS="--rounds 3"]
	@$(RUN) bench.simulate $(ARGS)
	@$(RUN) bench.preview $(ARGS)

tables: $(VENV)/runtime.stamp ## Write the tables in docs/ anew from the catalogue
	@$(RUN) scripts.tables

simulate: $(VENV)/runtime.stamp ## Simulate a day of requests: waits, replicas, money: STACK=prod [TRACE=FILE] [ARGS=--help]
	@$(RUN) scripts.simulate $(or $(STACK),prod) $(if $(TRACE),--trace "$(TRACE)") $(ARGS)

drill: $(VENV)/runtime.stamp ## Call spot nodes back, simulated, and judge what becomes of streams: STACK=prod [ARGS=--help]
	@$(RUN) scripts.drill $(or $(STACK),prod) $(ARGS)

bootstrap: $(VENV)/runtime.stamp ## Make what a team needs once in its project: STACK=prod [ARGS=--dry-run]
	@$(RUN) scripts.bootstrap $(STACK) $(ARGS)

doctor: $(VENV)/runtime.stamp ## Ask Google, registries and the hub what `make up` would fail on; changes nothing: STACK=prod
	@$(RUN) scripts.doctor $(STACK) $(ARGS)

up: $(VENV)/runtime.stamp ## Check, then `pulumi up`: STACK=prod [ARGS=--yes]
	@$(RUN) scripts.up $(STACK) $(ARGS)

smoke: $(VENV)/runtime.stamp ## Ask each live model for one answer: STACK=prod [ARGS="--model NAME --timeout MINUTES"]
	@$(RUN) scripts.smoke $(STACK) $(ARGS)

live-drill: $(VENV)/runtime.stamp ## Call one spot node of a live stack back under streams; asks first: STACK=prod [ARGS=--help]
	@$(RUN) scripts.live_drill $(STACK) $(ARGS)

unstick: $(VENV)/runtime.stamp ## After a killed `make up`: end what is pending, free the stack: STACK=prod [ARGS=--yes]
	@$(RUN) scripts.unstick $(STACK) $(ARGS)

destroy: $(VENV)/runtime.stamp ## Take an unprotected stack down: STACK=dev [ARGS=--yes]
	@$(RUN) scripts.up --destroy $(STACK) $(ARGS)

pin: $(VENV)/runtime.stamp ## Look up what is not pinned yet; needs a network: [ARGS=--write]
	@$(RUN) scripts.pin $(ARGS)

prices: $(VENV)/runtime.stamp ## Show which list prices moved; needs a network and GOOGLE_API_KEY: [ARGS=--write]
	@$(RUN) scripts.prices $(ARGS)

clean: ## Remove .venv and every cache; never the state of a stack
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Messages go to standard error, so that `make preview ARGS="--format json" > file` holds JSON only.
$(VENV)/bin/python:
	@scripts/make_venv.sh $(VENV) $(PYTHONS) >&2

$(VENV)/runtime.stamp: requirements.txt | $(VENV)/bin/python
	@echo "Installing the Pulumi SDK into $(VENV); this takes about a minute." >&2
	@$(PIP_INSTALL) -r requirements.txt >&2
	@touch $@

$(VENV)/development.stamp: requirements-dev.txt $(VENV)/runtime.stamp
	@echo "Installing the development tools into $(VENV); this takes about half a minute." >&2
	@$(PIP_INSTALL) -r requirements-dev.txt >&2
	@touch $@
