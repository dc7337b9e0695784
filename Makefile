# Needs Python >= 3.11, make and a package index. Everything else goes into its own virtual environment.
#
#   make run     the demo: embedded store, demo hub, sidecar and console (HUB_URL=… fronts that hub instead)
#   make test    the tests (ARGS='tests/keys -k digest' narrows them down)
#   make long    the tests that need real minutes: limits in time, 100 crashes, ten minutes without a store, random lives
#   make compiled-test  the tests of whole processes, run on what `make compile` makes
#   make fuzz    the deciders against arbitrary input, for about an hour
#   make mutants would the unit tests notice a small fault in what decides? (ARGS='keys/token limits' narrows it down)
#   make soak    an hour of mixed traffic under random faults (ARGS='--minutes 3' shortens it; the tests have half a minute of it)
#   make compile a wheel with a compiled hot path in dist/, and the same unpacked in build/sidecar
#   make check   lint, format, types and the usual mistakes in security
#   make audit   known vulnerabilities of what is pinned; needs the advisory service of the package index
#   make bench   requests per second beside other proxies, in one run
#   make format  let ruff mend what it can
#   make lock    pin the dependencies anew
#   make docs    write the generated pages and dashboards anew
#   make dist    wheel, source archive and bill of materials in dist/
#   make clean   remove the virtual environment and whatever was built

VENV ?= .venv
# The first Python here that is new enough.
PYTHON ?= $(firstword $(foreach candidate,python3 python3.14 python3.13 python3.12 python3.11,\
	$(shell $(candidate) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(candidate))))
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check --quiet --quiet
LOCK = $(VENV)/bin/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-header \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test compile long long-test crash-test outage-test lives-test compiled-test fuzz mutants soak check audit format bench lock docs sbom dist clean

help:
	@sed -n 's/^#   //p' Makefile

run: $(VENV)/.product
	@exec $(VENV)/bin/sidecar demo $(ARGS)

test: $(VENV)/.development
	$(VENV)/bin/python -m $(if $(ARGS),pytest $(ARGS),tests.parts)

long: long-test crash-test outage-test lives-test

long-test: $(VENV)/.development
	SIDECAR_TEST_LONG=1 $(VENV)/bin/python -m pytest -s tests/long $(ARGS)

crash-test: $(VENV)/.development
	SIDECAR_TEST_CRASH_ROUNDS=100 $(VENV)/bin/python -m pytest -s tests/e2e/test_crashes.py $(ARGS)

outage-test: $(VENV)/.development
	SIDECAR_TEST_OUTAGE=600 $(VENV)/bin/python -m pytest -s tests/e2e/test_metering.py -k while_the_store_is_away $(ARGS)

lives-test: $(VENV)/.development
	SIDECAR_TEST_LIVES=300 $(VENV)/bin/python -m pytest tests/worker/test_identify_life.py $(ARGS)

# The processes that the tests start are the compiled ones; the tests themselves use the source.
compiled-test: compile
	PYTHONPATH=$(CURDIR)/build/sidecar $(VENV)/bin/python -m pytest tests/e2e tests/failures tests/wire tests/deploy $(ARGS)

check: $(VENV)/.development
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/bandit --quiet --recursive --configfile pyproject.toml sidecar

audit: $(VENV)/.development
	$(VENV)/bin/pip-audit --disable-pip --require-hashes --strict -r requirements/runtime.txt $(ARGS)

fuzz: $(VENV)/.development
	SIDECAR_FUZZ_EXAMPLES=100000 $(VENV)/bin/python -m pytest tests/fuzz $(ARGS)

mutants: $(VENV)/.development
	$(VENV)/bin/python -m tests.support.mutation $(ARGS)

soak: $(VENV)/.development
	$(VENV)/bin/python -m benchmarks.soak $(ARGS)

format: $(VENV)/.development
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# What is measured is what the image runs: the compiled build.
bench: compile
	$(VENV)/bin/python -m benchmarks $(ARGS)

compile: $(VENV)/.compiled

docs: $(VENV)/.development
	$(VENV)/bin/python -m docs.generate
	$(VENV)/bin/python -m deploy.grafana.generate

# Beside the wheel that it describes.
sbom: $(VENV)/.development
	@mkdir -p dist
	$(VENV)/bin/python -m requirements.sbom dist

dist: sbom
	$(VENV)/bin/python -m build --no-isolation

# What is pinned fits every supported Python; the hashes are those of all wheels of a release.
lock: $(VENV)/.development
	$(LOCK) --extra geo $(ARGS) -o requirements/runtime.txt pyproject.toml requirements/runtime.in
	$(LOCK) $(ARGS) -o requirements/build.txt requirements/build.in
	$(LOCK) $(ARGS) -o requirements/compile.txt requirements/compile.in
	$(LOCK) $(ARGS) -o requirements/dev.txt requirements/dev.in
	$(LOCK) $(ARGS) -o benchmarks/requirements.txt benchmarks/requirements.in
	$(LOCK) $(ARGS) -o benchmarks/requirements-litellm.txt benchmarks/requirements-litellm.in

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

# Of scripts, profiles and pages too: what is compiled lies in one directory with them, and would go on with the old ones.
$(VENV)/.compiled: $(VENV)/.development requirements/compile.txt hatch_build.py $(shell find sidecar -type f ! -name '*.pyc')
	@echo 'compiling the hot path, which takes a minute or two …'
	@$(PIP) install --require-hashes -r requirements/compile.txt
	@mkdir -p build && rm -rf dist/*-cp3*.whl build/sidecar
	@SIDECAR_COMPILE=1 $(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist . >build/compile.log 2>&1 || { tail -n 20 build/compile.log >&2; exit 1; }
	@$(PIP) install --no-deps --no-index --target build/sidecar dist/*-cp3*.whl
	@touch $@

$(VENV)/.development: $(VENV)/.product requirements/dev.txt
	@echo 'installing the development tools into $(VENV) …'
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@
