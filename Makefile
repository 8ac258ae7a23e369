# Everything a contributor runs. `make` alone lists it. Needs make, git and Python 3.11, 3.12 or 3.13.
# PYTHON=/path/to/python picks the interpreter that .venv is made with; pip's own PIP_* variables are honoured.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

VENV := .venv
BIN := $(VENV)/bin
# Written last, so that an interrupted installation is taken up again by the next call.
STAMP := $(VENV)/.installed

CHECKPOINT := mobile_demo/checkpoints/ddrnet23_slim_celebamask_256.pth
DEMO := build/demo

# Shims that exist but do not run, and Pythons without venv, are passed over.
USABLE := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
CANDIDATES := $(or $(PYTHON),python3 python3.13 python3.12 python3.11)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

$(STAMP): pyproject.toml
	@rm -f $@; found=; \
	for python in $(CANDIDATES); do \
		if "$$python" -c '$(USABLE)' >/dev/null 2>&1; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "error: no usable Python among: $(CANDIDATES) (wanted: 3.11, 3.12 or 3.13 with the venv module);" \
			"install one or run  make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; \
	fi; \
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		echo "creating $(VENV) with $$("$$found" --version)"; "$$found" -m venv --clear $(VENV) || exit 1; \
	fi
	@echo "installing the toolchain into $(VENV) (a few minutes the first time)"
	@pip="$(BIN)/python -m pip install -qq --disable-pip-version-check --no-compile"; \
	$$pip --editable '.[dev,coreai]' || { \
		echo "trying again without Core AI, which has packages for few systems (docs/adr/0006)"; \
		$$pip --editable '.[dev]'; \
	}
	@touch $@

.PHONY: install
install: $(STAMP) ## make .venv with everything in it

.PHONY: demo
demo: $(STAMP) ## export the bundled network to every target, prove parity, measure, report
	@$(BIN)/seg-export $(CHECKPOINT) --target all --images mobile_demo/samples --out $(DEMO)
	@$(BIN)/seg-bench $(DEMO)/*.pt $(DEMO)/*.onnx $(DEMO)/*.mlpackage $(DEMO)/*.tflite --images mobile_demo/samples/astronaut.png --out $(DEMO)/latency.json
	@$(BIN)/seg-report $(DEMO)
	@echo "  (the commands are in $(BIN); put them on your PATH with  . $(BIN)/activate)"

.PHONY: zoo
zoo: $(STAMP) ## measure and prove the models that are new, then write docs/models.md (ZOO=--force: all of them)
	@$(BIN)/python -m seg_bench.zoo $(ZOO)

.PHONY: zoo-latency
zoo-latency: $(STAMP) ## time the models that are not timed yet; leave the machine alone meanwhile
	@$(BIN)/python -m seg_bench.zoo --latency $(ZOO)

.PHONY: test
test: $(STAMP) ## run the tests that need no GPU and no browser, but for the slow ones
	@$(BIN)/python -m pytest -m "not gpu and not browser and not slow"

.PHONY: test-slow
test-slow: $(STAMP) ## run the tests that `make test` leaves out
	@$(BIN)/python -m pytest -m "(slow or browser) and not gpu"

.PHONY: test-gpu
test-gpu: $(STAMP) ## run the tests that need a CUDA device
	@$(BIN)/python -m pytest -m gpu

.PHONY: lint
lint: $(STAMP) ## ruff: rules and formatting
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

.PHONY: types
types: $(STAMP) ## mypy --strict over the packages
	@$(BIN)/mypy

.PHONY: contracts
contracts: $(STAMP) ## import-linter: which room may import which
	@$(BIN)/lint-imports

.PHONY: wheel
wheel: $(STAMP) ## build sdist and wheel into dist/ and check what is in the wheel
	@rm -rf dist && mkdir -p build
	@$(BIN)/python -m build --outdir dist >build/wheel.log 2>&1 || { cat build/wheel.log >&2; exit 1; }
	@$(BIN)/python -m pytest -q tests/packaging/test_wheel.py --wheel dist/*.whl

.PHONY: check
check: lint types contracts wheel test ## all of the above but demo and test-slow

.PHONY: format
format: $(STAMP) ## rewrite the sources as lint wants them
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

.PHONY: vectors
vectors: $(STAMP) ## write the golden vectors of the preprocessing contract again
	@$(BIN)/python mobile_demo/vectors/make_vectors.py

.PHONY: clean
clean: ## remove .venv, build outputs and caches
	@rm -rf $(VENV) build dist .nox .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
