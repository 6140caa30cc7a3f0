# `make serve` and `make test` need only make and Python 3.11 or later with venv.
PYTHON ?= python3
VENV := .venv
python := $(VENV)/bin/python
runtime := $(VENV)/requirements.stamp
development := $(VENV)/requirements-dev.stamp
pip_install := $(python) -m pip install --quiet --disable-pip-version-check --require-hashes

# The defaults of `make test-postgres`. DATABASE_URL and CACHE_URL override them.
POSTGRES_URL ?= postgres://postgres@127.0.0.1:5432/postgres
REDIS_URL ?= redis://127.0.0.1:6379/8

# `make check` must not depend on `.env`. An empty value selects the default. It may run in a container.
defaults := DATABASE_URL= CACHE_URL= DEBUG= DEMO= WORKERS= ALLOWED_HOSTS= EPHEMERAL_DATA=1

# Without cached bytecode, each process of a test run would compile every test again.
unexport PYTHONDONTWRITEBYTECODE

# Tests that `make test` leaves to `make browser` and `make check`.
elsewhere := --ignore=tests/browser -m "not needs_npm"
# Tests of the migrations, which `make test` leaves to `make check`: they depend on little else, and take long.
of_migrations := tests/test_migrations.py tests/test_schema_sql.py

audit := $(python) .ci/audit.py requirements.txt requirements-dev.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve test coverage mutants test-postgres browser grouping capture rehearsal month bare faults fuzz bench check audit sql \
	lock install clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name words; do \
		printf '  make %-15s %s\n' "$$name" "$$words"; done

serve: $(runtime) ## install the requirements, migrate, and serve on HOST:PORT
	@exec $(python) manage.py serve --stop-with-parent

test: $(development) ## run the tests on SQLite; ARGS="-k batch" selects tests by name
	@env -u DATABASE_URL -u CACHE_URL $(python) -m pytest -n auto $(elsewhere) $(of_migrations:%=--ignore=%) $(ARGS)

coverage: $(development) ## run all tests on SQLite, and measure line and branch coverage; fails under 95 %
	@$(python) -m coverage erase
	@env -u DATABASE_URL -u CACHE_URL $(python) -m coverage run -m pytest -n auto $(elsewhere) $(ARGS)
	@$(python) -m coverage combine --quiet
	@$(python) -m coverage report
	@$(python) -m coverage json --quiet -o - | $(python) .ci/covered.py

mutants: $(development) ## change 60 random operators, and list those that no test notices; SEED=7, COUNT=10
	@env -u DATABASE_URL -u CACHE_URL $(python) -m tests.mutants $(if $(SEED),--seed $(SEED)) \
		$(if $(COUNT),--count $(COUNT)) $(ARGS)

test-postgres: $(development) ## run the tests that use the database on PostgreSQL and Redis, at DATABASE_URL and CACHE_URL
	@DATABASE_URL="$${DATABASE_URL:-$(POSTGRES_URL)}" CACHE_URL="$${CACHE_URL:-$(REDIS_URL)}" \
		$(python) -m pytest -n auto --maxprocesses 8 --ignore=tests/faults $(elsewhere) $(ARGS)

browser: $(development) ## test the client and every page in Chromium
	@env -u DATABASE_URL -u CACHE_URL $(python) -m pytest -n 2 tests/browser $(ARGS)

grouping: $(development) ## group the sets of failures, those of the client through Chromium; SETS=FILE adds sets
	@SETS="$(SETS)" $(python) -m pytest -q -s tests/browser/test_failure_sets.py

capture: ## write tests/fixtures/captured_failures.jsonl: the same failures from two builds in three browsers; needs npm
	@cd tests/capture && npm ci --silent && node capture.js

rehearsal: $(development) ## run the whole migration from the old system in Chromium; ARGS=--short takes two minutes
	@env -u DATABASE_URL -u CACHE_URL $(python) -m tests.rehearsal $(ARGS)

month: $(development) ## let one site run for a month under a faked clock, with accidents, and print figures; needs root
	@env -u DATABASE_URL -u CACHE_URL $(python) -m tests.month $(ARGS)

bare: ## run `make serve` and `make test` on a minimal Debian, which debootstrap installs temporarily; needs root
	@.ci/bare

# Without xdist, because one process counts the cases. The decorator of each test sets its share of them.
fuzz: $(development) ## send FUZZ_CASES=100000 cases of bad input, compare with the contract, and print figures
	@env -u DATABASE_URL -u CACHE_URL FUZZ_CASES="$${FUZZ_CASES:-100000}" $(python) -m pytest -q -p no:xdist tests/fuzz \
		tests/server/test_hostile_requests.py $(ARGS)

faults: $(development) ## test kills, overload, full disks, signals and wrong clocks in full length, and print figures
	@env -u DATABASE_URL -u CACHE_URL FAULTS=full $(python) -m pytest tests/faults tests/legacy/test_import_again.py $(ARGS)

bench: $(development) ## measure the figures of docs/performance.md; needs wrk; ARGS="pages" selects a part
	@env -u DATABASE_URL -u CACHE_URL $(python) -m benchmarks $(ARGS)

check: $(development) ## run all linters and static checks
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/djlint --lint --quiet .
	$(VENV)/bin/rumdl check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	@data=$$(mktemp -d) && trap 'rm -rf "$$data"' EXIT && set -ex && export DATA_DIR="$$data" $(defaults) && \
		$(python) manage.py makemigrations --check --dry-run && \
		SITE_URL=https://telemetry.example.org TRUSTED_PROXY_COUNT=1 $(python) manage.py check --deploy --fail-level WARNING
	env -u DATABASE_URL -u CACHE_URL $(python) -m pytest -q $(of_migrations) tests/test_architecture.py \
		tests/test_requirements.py tests/test_licences.py tests/test_client_size.py tests/test_frontend_examples.py \
		tests/test_linters.py
	env -u DATABASE_URL -u CACHE_URL FAULTS=full $(python) -m pytest -q --collect-only tests >/dev/null  # nightly tests too
	@$(audit)

audit: $(python) ## list known vulnerabilities of the pinned versions; needs a network
	@$(audit)

sql: $(runtime) ## write the SQL of every migration, for both engines, into docs/schema/
	@$(python) manage.py print_schema

lock: $(python) ## write requirements*.txt from requirements*.in; ARGS=--upgrade selects newer versions
	@tool=$$(mktemp -d) && trap 'rm -rf "$$tool"' EXIT && set -e && \
		$(PYTHON) -m venv "$$tool" && "$$tool/bin/pip" install --quiet --disable-pip-version-check uv && \
		compile="$$tool/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes $(ARGS)" && \
		$$compile requirements.in -o requirements.txt && \
		$$compile --constraint requirements.txt requirements-dev.in -o requirements-dev.txt

install: $(development) ## create .venv with the requirements of the site, the tests and the checks

clean: ## delete .venv and all caches, but no data
	rm -rf $(VENV) tests/capture/node_modules .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp file records the last installation, so that a second start does not run pip.
$(runtime): requirements.txt | $(python)
	@echo "Installing requirements.txt ..."
	@$(pip_install) -r requirements.txt
	@touch $@

$(development): requirements-dev.txt | $(python)
	@echo "Installing requirements-dev.txt ..."
	@$(pip_install) -r requirements-dev.txt
	@touch $@

$(python):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "\`$(PYTHON)\` is not Python 3.11 or later. Try: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "\`$(PYTHON) -m venv\` does not work here. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
