# make only wraps `python -m venv` and `pip install -e '.[...]' -c constraints.txt`; all it makes lies in .venv.
PYTHON ?= python3
ARGS ?=
# Every test that trains starts processes with torch in them, so more workers than cores, or very many, only get in each other's way.
WORKERS ?= -n auto --maxprocesses 4

BIN := .venv/bin
CORE := .venv/installed-core
DEV := .venv/installed-dev
COMMA := ,

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run install test check format benchmarks keys clean

help:
	@echo 'make run ARGS="model=small"   one experiment: installs on the first call, then `python run.py ARGS`'
	@echo 'make install                  only the environment, in .venv'
	@echo 'make test                     the test suite; ARGS="tests/config -k text" for a part of it'
	@echo 'make check                    ruff and pyright, as CI runs them'
	@echo 'make format                   what ruff can mend by itself'
	@echo 'make benchmarks               every script of tests/benchmarks, one after the other'
	@echo 'make keys                     docs/keys.md anew, from the schema'
	@echo 'make clean                    removes .venv and the caches; results/ stays'
	@echo 'PYTHON=python3.12 chooses the interpreter of a new .venv (3.11 or 3.12).'

run: $(CORE)
	@$(BIN)/python run.py $(ARGS)

install: $(CORE)

test: $(DEV)
	$(BIN)/python -m pytest $(WORKERS) $(ARGS)

check: $(DEV)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(DEV)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

benchmarks: $(DEV)
	@set -e; for script in tests/benchmarks/[!_]*.py; do \
		echo "== $$script"; $(BIN)/python "$$script" $(ARGS); \
	done

keys: $(CORE)
	@mkdir -p docs
	$(BIN)/thrifty keys --markdown > docs/keys.md.new
	@mv docs/keys.md.new docs/keys.md

clean:
	rm -rf .venv dist build .pytest_cache .ruff_cache

# A stamp says that its extras are installed at these versions; it is written last, so a failed install leaves none.
$(CORE): pyproject.toml constraints.txt
	$(call install,parquet$(COMMA)hdf5$(COMMA)onnx$(COMMA)openvino)
	@touch $(CORE)

$(DEV): pyproject.toml constraints.txt
	$(call install,dev)
	@touch $(CORE) $(DEV)

define install
@$(BIN)/python -c '' 2>/dev/null || { \
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null || { \
		echo "thrifty needs Python 3.11 or 3.12, and '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo not there): name one, e.g. make PYTHON=python3.11" >&2; exit 2; }; \
	echo "$(PYTHON) -m venv .venv"; $(PYTHON) -m venv --clear .venv; }
@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip
$(BIN)/python -m pip --disable-pip-version-check install -e '.[$(1)]' -c constraints.txt
endef
