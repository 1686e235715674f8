# Every target makes what it needs first, so each one works on a bare machine. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help install engine images tools demo test check up bench reference constraints

BIN := .venv/bin
ARGS ?=

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target text; do printf '%-18s %s\n' "$$target" "$$text"; done

install: .venv/.installed ## make .venv with the project and its tools (needs Python 3.11 or newer)

.venv/.installed: pyproject.toml constraints.txt deploy/python.sh
	deploy/python.sh
	@touch $@

engine: ## make sure that a Docker engine answers; as root on Debian or Ubuntu, install and start one
	@deploy/engine.sh

images: engine
	tests/images/make_images.sh busybox citylearn mlflow

tools:
	@deploy/test_tools.sh

demo: install engine ## three simulations, submitted in three ways, on a temporary volume
	tests/images/make_images.sh citylearn
	$(BIN)/python examples/demo.py

test: install images tools ## all tests, on the real engine too; ARGS='-k planner' picks some
	$(BIN)/pytest $(ARGS)

check: install ## formatting, lint, types, and the doors between the packages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

up: install engine ## run the operator and the API in the foreground
	$(BIN)/opeva up

bench: install engine ## measure against the floor that the engine sets; ARGS='--quick' for some minutes of it
	tests/images/make_images.sh busybox
	$(BIN)/python -m benchmarks.bench $(ARGS)

reference: install ## write the tables of docs/spec.md and docs/settings.md anew from the model
	$(BIN)/python -m opeva_specs.reference docs

constraints: install ## write constraints.txt anew from today's versions
	deploy/constraints.sh
