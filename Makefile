# The commands of the project. `make run` and `make test` need Python 3.11 or later and make, nothing else:
# what they use goes into .venv, once, from the locks in requirements/.
#
# Plain POSIX make, so that GNU make of any age and BSD make read it.

PY = .venv/bin/python
PYTHON ?=
ARGS =
UPGRADE =

.PHONY: help run test check format lock clean runtime dev formatted lint walls tidy types routes

help:
	@echo 'make run      install, start the bank with a demo database, serve it at http://localhost:8000'
	@echo '              (ARGS="..." passes options to latticebank up)'
	@echo 'make test     everything that must hold: make check, then all tests'
	@echo 'make check    format, lint, import walls, house rules, types, route policies (under a minute)'
	@echo 'make format   rewrite the code in the house format and repair what the linter can'
	@echo 'make lock     resolve the dependencies again (UPGRADE=--upgrade takes newer versions)'
	@echo 'make clean    remove what make created: .venv, caches (the bank of make run is kept)'
	@echo 'PYTHON=/path/to/python3.12 chooses the interpreter'

run: runtime
	@exec .venv/bin/latticebank up $(ARGS)

test: check
	@echo '== tests'
	@$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: formatted lint walls tidy types routes

format: dev
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

formatted: dev
	@echo '== format'
	@$(PY) -m ruff format --check --diff .

lint: dev
	@echo '== lint'
	@$(PY) -m ruff check .

walls: dev
	@echo '== import walls'
	@.venv/bin/lint-imports --no-logo

tidy: dev
	@echo '== house rules'
	@$(PY) -m pytest --noconftest -q tests/tidy/test_tidy.py

types: dev
	@echo '== types'
	@$(PY) -m mypy $$(ls -d src tests benchmarks 2>/dev/null)

routes: dev
	@echo '== route policies'
	@.venv/bin/latticebank routes --check

runtime:
	@PYTHON='$(PYTHON)' requirements/install runtime

dev:
	@PYTHON='$(PYTHON)' requirements/install dev

lock: runtime
	@UPGRADE='$(UPGRADE)' requirements/lock

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .schemathesis build dist
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
