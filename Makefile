# Needs Python >= 3.11, make and a package index. Everything else goes into its own virtual environment.
#
#   make run     the demo: embedded store, demo hub, sidecar and console (HUB_URL=… fronts that hub instead)
#   make test    the tests (ARGS='tests/keys -k expiry' narrows them down)
#   make check   lint, format and types
#   make bench   requests per second beside other proxies, in one run
#   make lock    pin the dependencies anew
#   make docs    write the generated pages anew
#   make dist    wheel and source archive in dist/

VENV ?= .venv
# The first Python here that is new enough.
PYTHON ?= $(firstword $(foreach candidate,python3 python3.14 python3.13 python3.12 python3.11,\
	$(shell $(candidate) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(candidate))))
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check --quiet --quiet
LOCK = $(VENV)/bin/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-header \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test check format bench lock docs dist clean

help:
	@sed -n 's/^#   //p' Makefile

run: $(VENV)/.product
	@exec $(VENV)/bin/sidecar demo $(ARGS)

test: $(VENV)/.development
	$(VENV)/bin/python -m pytest $(ARGS)

check: $(VENV)/.development
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(VENV)/.development
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(VENV)/.development
	$(VENV)/bin/python -m benchmarks $(ARGS)

docs: $(VENV)/.development
	$(VENV)/bin/python -m docs.generate

dist: $(VENV)/.development
	$(VENV)/bin/python -m build --no-isolation

# What is pinned fits every supported Python; the hashes are those of all wheels of a release.
lock: $(VENV)/.development
	$(LOCK) --extra geo $(ARGS) -o requirements/runtime.txt pyproject.toml requirements/runtime.in
	$(LOCK) $(ARGS) -o requirements/build.txt requirements/build.in
	$(LOCK) $(ARGS) -o requirements/dev.txt requirements/dev.in

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Debian's python3 may come without ensurepip; its pip can then fill the environment from outside.
$(VENV)/.created:
	@test -n '$(PYTHON)' || { echo 'make: no Python >= 3.11 found; install one or give PYTHON=/path/to/python' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 \
		|| { $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --quiet --python $(VENV)/bin/python install pip; } \
		|| { echo 'make: $(PYTHON) cannot make a virtual environment; install its venv module (Debian: python3-venv)' >&2; exit 1; }
	@touch $@

$(VENV)/.product: $(VENV)/.created requirements/runtime.txt requirements/build.txt pyproject.toml
	@echo 'installing into $(VENV) …'
	@$(PIP) install --require-hashes -r requirements/runtime.txt -r requirements/build.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.development: $(VENV)/.product requirements/dev.txt
	@echo 'installing the development tools into $(VENV) …'
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@
