PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help board site debian test axe check format schema bench bench-proofs bench-kill bench-rigor bench-train bench-parity bench-subsets bench-evaluation bench-report bench-regression bench-fixture clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

# A run that failed is a row of the board with its reason, so exit code 1 goes on; everything else stops.
board: .venv/installed ## Measure tasks/quick on this machine and render site/index.html
	$(BIN)/paretoboard run tasks/quick || test $$? -eq 1
	$(BIN)/paretoboard board tasks/quick
	$(BIN)/paretoboard report --out site

site: .venv/installed ## Render what is stored in results/reference to site/index.html
	$(BIN)/paretoboard report --results results/reference --out site

debian: ## Install what Debian has and pip has not: a compiler, a browser, hyperfine (as root)
	apt-get update --quiet
	apt-get install --yes --no-install-recommends g++ chromium chromium-driver hyperfine

# A file of tests for each core at once, each with one thread unless it asks for more; then those that need the machine.
TOGETHER := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --dist loadfile --no-loadscope-reorder

test: .venv/installed-test ## Run the tests, all but those that take long
	$(TOGETHER) -m "not alone and not slow"
	$(BIN)/python -m pytest -m alone

bench-proofs: .venv/installed-test ## Run the tests that take long: more networks, more ways from a task to its board
	$(TOGETHER) -m slow

# axe-core comes from npm and stays in build; `make test` leaves its tests out where it is missing.
axe: .venv/installed-test ## Look for what keeps people out of the pages, with axe-core in a real browser
	npm install --silent --no-audit --no-fund --prefix build/axe axe-core
	$(BIN)/python -m pytest tests/test_site_checks.py -k axe

check: .venv/installed-test ## Formatting, lint, strict typing, layer rule
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed-test ## Format the code and mend what lint can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Saved by pytest-benchmark's storage, kept in results, and compared by the rule for nights: six sessions make a comparison.
BENCH_RESULTS := results/bench
bench: .venv/installed-test ## Time the project itself: a timed call, plan, store, statistics, report; compare with before
	mkdir -p $(BENCH_RESULTS)/storage
	$(BIN)/python -m pytest tests/bench/test_speed.py --benchmark-only --benchmark-columns=median,iqr,rounds \
		--benchmark-storage=file://$(CURDIR)/$(BENCH_RESULTS)/storage --benchmark-autosave --benchmark-save-data
	$(BIN)/paretoboard results import $$(ls $(BENCH_RESULTS)/storage/*/*.json) --results $(BENCH_RESULTS) > /dev/null
	$(BIN)/paretoboard results benchmarks --results $(BENCH_RESULTS)

bench-kill: .venv/installed-test ## Kill `run tasks/quick` at 20 random moments, resume, and count the records
	rm -rf build/bench-kill
	$(BIN)/python tests/killing.py tasks/quick --results build/bench-kill --kills 20 --longest 40

# Otava asks for an older numpy and for clients of databases; its analysis needs neither and says the same without.
.venv/installed-bench: .venv/installed-test
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python -m pip install --quiet --no-deps 'apache-otava>=0.8'
	touch $@

# Resumes where it was stopped. hyperfine comes with `make debian`; without it, its row is left out with a reason.
bench-rigor: .venv/installed-bench ## False alarms and finds of ab1 and of other tools' rules: an hour; QUICK=1: 8 minutes
	PYTHONPATH=tests $(BIN)/python -m bench.rigor $(if $(QUICK),--extent quick)

# On all cores, as builds are; QUICK=1 takes a minute instead of four.
# SEEDS=1 also trains the five-minute recipe with its five seeds, in half an hour.
bench-train: .venv/installed-test ## Images per second of the trainer beside a bare loop; SEEDS=1: accuracy in five minutes
	PYTHONPATH=tests $(BIN)/python -m bench.train $(if $(QUICK),--extent quick)
	$(if $(SEEDS),$(BIN)/paretoboard run cifar10/train-5min)
	$(if $(SEEDS),$(BIN)/paretoboard board cifar10/train-5min)

# What is built is kept in results/parity. ONLY=ort compares with one library only.
bench-parity: .venv/installed-test ## Our recipes beside the libraries' own procedures: half an hour; QUICK=1: minutes
	PYTHONPATH=tests $(BIN)/python -m bench.parity $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--extent quick)

# QUICK=1 draws a tenth of the subsets.
bench-subsets: .venv/installed-test ## How often subsets of ImageNet rank two models wrongly, and our verdicts
	PYTHONPATH=tests $(BIN)/python -m bench.subsets $(if $(QUICK),--extent quick)

# QUICK=1 takes a quarter of the pairs.
bench-evaluation: .venv/installed-test ## Images per second of an evaluation beside its model alone
	PYTHONPATH=tests $(BIN)/python -m bench.evaluation $(if $(QUICK),--extent quick)

# A quarter of an hour on two cores; QUICK=1 takes a tenth of the series and of the time.
bench-regression: .venv/installed-bench ## Our rule for nights beside other tools' on planted histories
	PYTHONPATH=tests $(BIN)/python -m bench.regression $(if $(QUICK),--extent quick)

# ROWS=1000000 takes some minutes.
# ROWS=1000000 makes a million records, which takes some minutes.
bench-report: .venv/installed-test ## From 100,000 records to 48 boards, and Explore in a browser, beside their bars
	PYTHONPATH=tests $(BIN)/python -m bench.report $(if $(ROWS),--rows $(ROWS))
	PYTHONPATH=tests $(BIN)/python -m bench.explore

# Resumes where it was stopped; QUICK=1 makes a tenth of the comparisons.
bench-fixture: .venv/installed-test ## What paretoboard_compare finds beside a busy process, in real sessions of pytest
	PYTHONPATH=tests $(BIN)/python -m bench.fixture $(if $(QUICK),--extent quick)

schema: .venv/installed ## Write tasks/task.schema.json, with which editors check task files
	$(BIN)/python -m paretoboard.taskfile.schema tasks/task.schema.json

clean: ## Remove what make made, results excepted
	rm -rf .venv site build dist
