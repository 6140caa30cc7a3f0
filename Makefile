# `make serve` and `make test` need Python 3.11 or later (with venv) and make, and nothing else.
PYTHON ?= python3
VENV := .venv
python := $(VENV)/bin/python
runtime := $(VENV)/requirements.stamp
development := $(VENV)/requirements-dev.stamp
pip_install := $(python) -m pip install --quiet --disable-pip-version-check --require-hashes

# What `make test-postgres` runs on unless the environment says otherwise.
POSTGRES_URL ?= postgres://postgres@127.0.0.1:5432/postgres
REDIS_URL ?= redis://127.0.0.1:6379/8

# The gate looks at the project and not at this machine: an empty value is the default, whatever .env says.
defaults := DATABASE_URL= CACHE_URL= DEBUG= DEMO= WORKERS= ALLOWED_HOSTS=

# What `make browser` and `make check` run.
elsewhere := --ignore=tests/browser -m "not needs_npm"

audit := $(python) .ci/audit.py requirements.txt requirements-dev.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve test coverage mutants test-postgres browser rehearsal bare faults fuzz bench check audit sql lock \
	install clean

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name words; do \
		printf '  make %-15s %s\n' "$$name" "$$words"; done

serve: $(runtime) ## set up, migrate and serve on HOST:PORT
	@exec $(python) manage.py serve --stop-with-parent

test: $(development) ## every test, on SQLite; ARGS="-k batch" for some
	@env -u DATABASE_URL -u CACHE_URL $(python) -m pytest -n auto --dist loadgroup $(elsewhere) $(ARGS)

coverage: $(development) ## every test, on SQLite, and the share of lines and branches that they run; fails under 95 %
	@$(python) -m coverage erase
	@env -u DATABASE_URL -u CACHE_URL $(python) -m coverage run -m pytest -n auto --dist loadgroup $(elsewhere) $(ARGS)
	@$(python) -m coverage combine --quiet
	@$(python) -m coverage report
	@$(python) -m coverage json --quiet -o - | $(python) .ci/covered.py

mutants: $(development) ## 60 random mutants against the tests of their lines, each night; SEED=7 repeats, COUNT=10 shortens
	@env -u DATABASE_URL -u CACHE_URL $(python) -m tests.mutants $(if $(SEED),--seed $(SEED)) \
		$(if $(COUNT),--count $(COUNT)) $(ARGS)

test-postgres: $(development) ## every test, on PostgreSQL and Redis (DATABASE_URL and CACHE_URL, else the local ones)
	@DATABASE_URL="$${DATABASE_URL:-$(POSTGRES_URL)}" CACHE_URL="$${CACHE_URL:-$(REDIS_URL)}" \
		$(python) -m pytest -n auto --dist loadgroup --maxprocesses 8 --ignore=tests/faults $(elsewhere) $(ARGS)

browser: $(development) ## the client and every page in a real Chromium, against a real server
	@env -u DATABASE_URL -u CACHE_URL $(python) -m pytest tests/browser $(ARGS)

rehearsal: $(development) ## the whole migration plan in Chromium, with kills and figures; ARGS=--short as CI runs it
	@env -u DATABASE_URL -u CACHE_URL $(python) -m tests.rehearsal $(ARGS)

bare: ## `make serve` and `make test` on a minimal machine, as root: debootstrap makes it, and it is removed again
	@.ci/bare

# Without xdist, so that one process counts; the tests' own share of the cases is in their decorators.
fuzz: $(development) ## bad input, each night: FUZZ_CASES=100000 of it, judged by the contract, with figures
	@env -u DATABASE_URL -u CACHE_URL FUZZ_CASES="$${FUZZ_CASES:-100000}" $(python) -m pytest -q -p no:xdist tests/fuzz $(ARGS)

faults: $(development) ## kills, crowds, full disks, signals and clocks in full length, with figures; `make test` has a part in short
	@env -u DATABASE_URL -u CACHE_URL FAULTS=full $(python) -m pytest tests/faults $(ARGS)

bench: $(development) ## how fast it is, beside the floor: the figures of docs/performance.md (needs wrk)
	@env -u DATABASE_URL -u CACHE_URL $(python) -m benchmarks $(ARGS)

check: $(development) ## the whole gate beside the tests
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/djlint --lint --quiet .
	$(VENV)/bin/rumdl check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	@data=$$(mktemp -d) && trap 'rm -rf "$$data"' EXIT && set -ex && export DATA_DIR="$$data" $(defaults) && \
		$(python) manage.py makemigrations --check --dry-run && \
		SITE_URL=https://telemetry.example.org TRUSTED_PROXY_COUNT=1 $(python) manage.py check --deploy --fail-level WARNING
	env -u DATABASE_URL -u CACHE_URL $(python) -m pytest -q tests/test_architecture.py tests/test_migrations.py \
		tests/test_requirements.py tests/test_licences.py tests/test_schema_sql.py tests/test_client_size.py \
		tests/test_frontend_examples.py tests/test_linters.py
	env -u DATABASE_URL -u CACHE_URL FAULTS=full $(python) -m pytest -q --collect-only tests >/dev/null  # nightly ones import too
	@$(audit)

audit: $(python) ## what is known against the pinned versions; says so when nobody can be asked
	@$(audit)

sql: $(runtime) ## write the SQL of every migration, for both engines, into docs/schema/
	@$(python) manage.py print_schema

lock: $(python) ## turn requirements*.in into requirements*.txt; ARGS=--upgrade for newer versions
	@tool=$$(mktemp -d) && trap 'rm -rf "$$tool"' EXIT && set -e && \
		$(PYTHON) -m venv "$$tool" && "$$tool/bin/pip" install --quiet --disable-pip-version-check uv && \
		compile="$$tool/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes $(ARGS)" && \
		$$compile requirements.in -o requirements.txt && \
		$$compile --constraint requirements.txt requirements-dev.in -o requirements-dev.txt

install: $(development) ## set up .venv with what the tests and the gate need

clean: ## take away the environment and every cache; the data stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A second start must not run pip, so each stamp is as old as the last installation.
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
		echo "Python 3.11 or later is needed, and \`$(PYTHON)\` is not one. Try: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "\`$(PYTHON) -m venv\` does not work here. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
