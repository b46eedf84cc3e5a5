# `make run` and `make test` do everything on a machine that has Python 3.11 or later with venv, and make.
# They use uv where it is on PATH, and pip otherwise; what is installed is pinned and hashed in requirements/.

BIN := .venv/bin
UV := $(shell command -v uv 2>/dev/null)
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
TESTS ?= tests src

ifdef UV
VENV = $(UV) venv --quiet --seed --python '>=3.11' .venv
INSTALL = $(UV) pip install --quiet --python $(BIN)/python
else
VENV = $(if $(PYTHON),$(PYTHON) -m venv .venv,$(error capsim needs Python 3.11 or later; put it on PATH or set PYTHON))
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
endif

.PHONY: run test test-slow fuzz bench notebooks docs house lab schema audit lint lock
.DELETE_ON_ERROR:

run: .venv/run.stamp
	$(BIN)/capsim compare data/scenarios/before.toml data/scenarios/after.toml data/scenarios/fixed.toml --out out

test: .venv/test.stamp
	$(BIN)/python -m pytest -n auto -m "not slow" $(TESTS)

test-slow: .venv/test.stamp
	$(BIN)/python -m pytest -n auto -m slow $(TESTS)

# Peers are installed in environments of their own, in benchmarks/.envs; about 20 minutes.
bench: .venv/test.stamp
	$(BIN)/python benchmarks/bench.py --out benchmarks/results.md
	$(BIN)/python benchmarks/whole_server.py --plot docs/figures/cost-over-flushes.png
	$(BIN)/python benchmarks/redraw.py
	$(BIN)/python benchmarks/sweep_points.py
	$(BIN)/python benchmarks/import_log.py

notebooks: .venv/test.stamp
	$(BIN)/python -m capsim.show.notebooks notebooks/*.ipynb

# The site: open build/site/index.html.
docs: .venv/test.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

# The picture of CONTRIBUTING.md, from the imports.
house: .venv/test.stamp
	$(BIN)/python docs/_site/house.py

lab: .venv/test.stamp
	$(BIN)/capsim lab

# The schema of every JSON document is what `schema_text()` of its module says.
SCHEMAS := audit=capsim.study.audit calibration=capsim.telemetry.calibration.document findings=capsim.study.findings inspection=capsim.telemetry.inspect.report optimum=capsim.study.optimize \
	recording-comparison=capsim.telemetry.calibration.recording_comparison reconciliation=capsim.telemetry.reconcile result=capsim.results.document sweep=capsim.study.sweeps.document

schema: .venv/run.stamp
	$(BIN)/capsim scenario schema > data/schema/scenario.schema.json.part
	mv data/schema/scenario.schema.json.part data/schema/scenario.schema.json
	@set -e; for pair in $(SCHEMAS); do file=data/schema/$${pair%%=*}.schema.json; \
		$(BIN)/python -c "from $${pair#*=} import schema_text; print(schema_text(), end='')" > $$file.part; \
		mv $$file.part $$file; done

# `make fuzz PARSER="env slo" SECONDS=600`; Atheris has wheels for Linux and Python 3.11 to 3.13 only, so it is in no lock.
PARSER ?=
SECONDS ?= 60
fuzz: .venv/test.stamp
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(INSTALL) atheris==3.0.0
	$(BIN)/python fuzz/run.py $(PARSER) --seconds $(SECONDS)

# Known vulnerabilities of what is locked; asks osv.dev, so it needs a network.
audit: .venv/test.stamp
	@$(BIN)/python -c 'import pip_audit' 2>/dev/null || $(INSTALL) pip-audit==2.10.1
	$(BIN)/python -m pip_audit --strict --vulnerability-service osv --disable-pip --require-hashes -r requirements/test.txt

lint: .venv/test.stamp
	$(BIN)/ruff check src tests fuzz docs
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/mypy

# The environment. One lock holds everything, the other what `make run` needs, in the same versions.
.venv/run.stamp .venv/test.stamp: .venv/%.stamp: requirements/%.txt pyproject.toml
	@echo "installing $< with $(if $(UV),uv,pip)" >&2
	@test -x $(BIN)/python || $(VENV)
	@$(INSTALL) --require-hashes -r $<
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

# `make lock` needs uv. One version of each package for every Python, so that numbers do not depend on Python's.
LOCK = uv pip compile --quiet pyproject.toml --group build --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate
LOCKED_GROUPS = --group dev --group docs
LOCKED_EXTRAS = --extra calibrate --extra inspect --extra notebooks --extra optimize --extra postgres --extra scale --extra server --extra speed --extra sweep --extra traces # `node` is too large for every test
lock:
	$(LOCK) $(LOCKED_EXTRAS) $(LOCKED_GROUPS) --output-file requirements/test.txt
	$(LOCK) --constraints requirements/test.txt --output-file requirements/run.txt
