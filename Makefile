# One command each; everything lives in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp

.PHONY: demo test test-quick test-real check format bench bench-quick bench-long bench-demo bench-left bench-frozen bench-gentle bench-watchdog bench-answers bench-files bench-forecast bench-speed bench-server clean-venv

$(STAMP): pyproject.toml .ci/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "chaosbandit needs Python 3.11 or newer; found $$($(PYTHON) --version 2>&1). Say which one: make PYTHON=python3.11" >&2; exit 2; }
	@echo "installing into $(VENV) (once, under a minute)" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c .ci/constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)   ## the main job on real traffic: finds the sample storefront's breaking point
	@$(BIN)/chaosbandit demo $(ARGS)

QUICK := tests/core tests/engine tests/faults tests/report tests/scenario tests/store tests/test_errors.py

test-quick: $(STAMP)  ## a minute's worth while working: no servers, no statistics
	$(BIN)/python -m pytest -n 2 -m "not e2e and not matrix and not statistics" $(QUICK) $(ARGS)

test: $(STAMP)   ## the tests of every change, among them one or more on every real part
	$(BIN)/python -m pytest -n 3 --dist worksteal -m "not e2e and not matrix" $(ARGS)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "e2e and not matrix" $(ARGS)

test-real: $(STAMP)   ## the rest: all on the real Toxiproxy too, and every fault
	$(BIN)/python -m pytest -n 2 -m "not e2e and matrix" $(ARGS)
	$(BIN)/python -m pytest -m "e2e and matrix" $(ARGS)

check: $(STAMP)  ## style, types and what nothing uses
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/vulture

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## what a bracket costs, how often it is wrong, what rivals need (hours; ARGS='--only 1 --runs 60' 13 minutes)
	$(BIN)/python benchmarks/tables.py --json build/bench.json $(ARGS)

bench-quick: $(STAMP)  ## the same tables from few campaigns
	$(BIN)/python benchmarks/tables.py --effort quick --json build/bench-quick.json $(ARGS)

bench-long: $(STAMP)  ## the same tables from 2000 campaigns a family and objective (hours)
	$(BIN)/python benchmarks/tables.py --effort long --json build/bench-long.json $(ARGS)

bench-demo: $(STAMP)  ## does the demo's bracket contain the breaking point? ten seeds a server
	$(BIN)/python benchmarks/demo.py $(ARGS)

bench-left: $(STAMP)  ## kill and break runs in every way; what is left behind? (hours: --times, --points)
	$(BIN)/python benchmarks/left_behind.py $(ARGS)

bench-frozen: $(STAMP)  ## freeze the real Toxiproxy under a fault; when is the path normal again?
	$(BIN)/python benchmarks/frozen.py $(ARGS)

bench-gentle: $(STAMP)  ## do mild latencies cut a pool's connections? (minutes; to be sure: ARGS='--exposures 40')
	$(BIN)/python benchmarks/gentle.py $(ARGS)

bench-watchdog: $(STAMP)  ## SIGKILL the engine; after how long is the path normal?
	$(BIN)/python benchmarks/watchdog.py $(ARGS)

bench-answers: $(STAMP)  ## are answers right on real services? (an hour: --seeds, or name a situation)
	$(BIN)/python benchmarks/answers.py $(ARGS)

bench-files: $(STAMP)  ## 10 000 generated scenario files: refused or read, in bounded time and memory
	$(BIN)/python benchmarks/scenario_files.py $(ARGS)

bench-forecast: $(STAMP)  ## does `plan` foresee what the engine spends? (many minutes; ARGS='--families cliff --runs 12')
	$(BIN)/python benchmarks/forecast.py $(ARGS)

bench-speed: $(STAMP)  ## what a request costs, and are whole runs at 500, 1000 and 3000/s valid? (some minutes)
	$(BIN)/python benchmarks/speed.py $(ARGS)

bench-server: $(STAMP)  ## processor time of the embedded server beside the real Toxiproxy's (two minutes)
	$(BIN)/python benchmarks/server_cost.py $(ARGS)

clean-venv:
	rm -rf $(VENV)
