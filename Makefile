# Two commands for a newcomer: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup demo test coverage lint dag bench up clean

help:
	@echo "make demo    install, run the pipeline on the embedded species, print where to look"
	@echo "make test    install if needed, run the tests"
	@echo "make setup   install into .venv only"
	@echo "make coverage  the tests with their coverage, as a table and as pages in htmlcov/"
	@echo "make lint    style, types and import contracts"
	@echo "make bench   the measured claims, as a table and as JSON"
	@echo "make dag     write the deps of every stage into dvc.yaml, from what its code imports"
	@echo "make up      Prefect, MLflow, gallery on loopback, until Ctrl-C; CRON='0 3 * * 1' runs the pipeline on schedule,"
	@echo "             ARGS='--gallery-port 8081' passes options of paleo up"
	@echo "make clean   remove .venv, caches and resumable state; never results"

setup: .venv/installed

# installed again only when what it is made from has changed
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup
	@$(BIN)/paleo run

# side by side, a file's tests in one process; threads of two processes on the same cores wait for each other;
# a process that dies fails the run: with one started in its place, the run would never end
PYTEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest \
	-n auto --maxprocesses 4 --max-worker-restart 0 --dist loadfile

test: setup
	@$(PYTEST)

coverage: setup
	@$(PYTEST) --cov --cov-report term:skip-covered --cov-report html

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: setup
	@$(BIN)/python -m benchmarks

dag: setup
	@$(BIN)/python -m pipeline.commands.dag

up: setup
	@$(BIN)/paleo up $(if $(CRON),--cron "$(CRON)") $(ARGS)

clean:
	rm -rf .venv .work build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache htmlcov .coverage .grimp_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
