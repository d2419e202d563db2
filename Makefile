# Each command makes .venv on its first call, installs what it needs there and
# reuses it afterwards. Nothing outside this folder is touched.

# The first of these that is new enough makes .venv; name another with
# `make test PYTHON=/path/to/python`.
PYTHON ?= python3 python3.13 python3.12 python3.11
# More for pytest, as in `make test ARGS="-k codec"`.
ARGS ?=

VENV := .venv
RUN := VIRTUAL_ENV="$(CURDIR)/$(VENV)" PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
INSTALL := $(VENV)/bin/python -m pip install --disable-pip-version-check
# TensorFlow has no wheels for Python 3.14 yet.
SUITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

.PHONY: help demo test web mutants check docs bench clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

help: ## show this list
	@echo "make COMMAND, one of:"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST)

demo: $(VENV)/.installed-demo ## train a split network on real images, then on with LiteRT
	$(RUN) keras-split demo

test: $(VENV)/.installed-dev ## run the tests; those marked slow only with CI=true
	$(RUN) scripts/test $(if $(filter true,$(CI)),,-m "not slow") $(ARGS)

web: ## build the page of serve --web, and check it with ARGS=--check; needs Node
	scripts/web $(ARGS)

mutants: $(VENV)/.installed-mutants ## change the code here and there: do the tests notice?
	$(RUN) scripts/mutants $(ARGS)

check: $(VENV)/.installed-dev ## run ruff, mypy and import-linter
	$(RUN) scripts/check

docs: $(VENV)/.installed-docs ## build the documentation into site/
	$(RUN) NO_MKDOCS_2_WARNING=1 mkdocs build --strict

bench: $(VENV)/.installed-dev ## run every benchmark, write tables and plots into docs/
	@set -e; for script in benchmarks/[!_]*.py; do \
	    echo "== $$script"; $(RUN) python "$$script" --write; \
	done

clean: ## remove .venv and what was built
	rm -rf $(VENV) build dist site .mypy_cache .pytest_cache .ruff_cache \
	    web/node_modules web/*/node_modules web/*/dist \
	    keras_split/server/web/page

# One stamp a set of extras: newer than each pyproject.toml means installed.
$(VENV)/.installed-demo: EXTRAS := tensorflow,device
$(VENV)/.installed-dev: EXTRAS := tensorflow,dev
$(VENV)/.installed-docs: EXTRAS := docs
$(VENV)/.installed-mutants: EXTRAS := mutants
$(VENV)/.installed-mutants: | $(VENV)/.installed-dev
# Beside ours: the package that docs/extending.md shows.
$(VENV)/.installed-dev: BESIDE := --editable tests/extending
$(VENV)/.installed-dev: tests/extending/pyproject.toml
$(VENV)/.installed-%: pyproject.toml | $(VENV)/bin/python
	@echo "Installing keras-split[$(EXTRAS)] into $(VENV), once." \
	    $(if $(findstring tensorflow,$(EXTRAS)),\
	    "TensorFlow is 600 MB to download: this can take minutes.")
	$(INSTALL) --editable ".[$(EXTRAS)]" $(BESIDE)
	@touch $@

$(VENV)/bin/python:
	@set -e; for python in $(PYTHON); do \
	    if "$$python" -c '$(SUITS)' 2>/dev/null; then \
	        echo "Making $(VENV) with $$("$$python" --version)"; \
	        "$$python" -m venv --clear $(VENV) && exit 0; \
	        rm -rf $(VENV); \
	        echo "error: '$$python -m venv' failed, see above. On Debian" \
	            "and Ubuntu it needs: apt install python3-venv" >&2; \
	        exit 1; \
	    fi; \
	done; \
	echo "error: keras_split with TensorFlow needs Python 3.11, 3.12 or" \
	    "3.13. Received:" >&2; \
	for python in $(PYTHON); do \
	    echo "  $$python: $$("$$python" --version 2>/dev/null \
	        || echo not found)" >&2; \
	done; \
	echo "Install one of them, or name it:" \
	    "make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; \
	exit 1
