.DEFAULT_GOAL := help
.PHONY: help run test lint chaos soak peers bench scale screenshots fuzz operations viewers pages lock sbom audit-deps clean
PYTHON ?= python3
READY := .venv/.ready
unexport PYTHONDONTWRITEBYTECODE  # else each of hundreds of processes compiles it all anew

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1	/'

# exec: the runner is make's own child, so that what stops make stops everything.
run: $(READY) ## Everything, with its own MongoDB and Redis; Ctrl-C stops it (PORT=8000 DATA_DIR=.data)
	@exec .venv/bin/python -m taskqueue.run

# The first run compiles, which each of the six would do anew. Many tests wait more than they work.
test: $(READY) ## The tests, which start their own stores
	@.venv/bin/python -m pytest --collect-only -qq >/dev/null 2>&1; \
	  exec .venv/bin/python -m pytest -n 6 --dist worksteal

lint: $(READY) ## ruff and mypy --strict
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

chaos: $(READY) ## Every fault of the matrix; writes docs/reliability.md (CHAOS_SEEDS=3, half an hour)
	@rm -f .chaos/rows.jsonl
	@CHAOS=1 CHAOS_EXAMPLES=300 .venv/bin/python -m pytest -n 3 --dist worksteal \
	  tests/system/faults tests/services/test_state_machine.py; code=$$?; \
	  .venv/bin/python -m tests.system.faults.report; exit $$code

soak: $(READY) ## A million jobs under a fault every few seconds (SOAK_JOBS=1000000)
	@SOAK_JOBS=$${SOAK_JOBS:-1000000} .venv/bin/python -m pytest -s tests/system/faults/test_soak.py; \
	  code=$$?; .venv/bin/python -m tests.system.faults.report; exit $$code

# A peer that cannot be installed is left out and said to be.
bench: $(READY) ## This project and its peers, half an hour (ROUNDS=5 ONLY=drain,idle SYSTEMS=ours,limit)
	@.venv/bin/python -m benchmarks.install
	@exec .venv/bin/python -m benchmarks.bench --rounds "$(ROUNDS)" --only "$(ONLY)" --systems "$(SYSTEMS)"

scale: $(READY) ## The same with millions of jobs (SCALE_FINISHED=5000000 SCALE_PENDING=1000000)
	@exec .venv/bin/python -m benchmarks.scale \
	  --finished $${SCALE_FINISHED:-5000000} --pending $${SCALE_PENDING:-1000000}

screenshots: $(READY) ## docs/screenshots: every page, both themes, wide and narrow
	@.venv/bin/python -m tests.web.screenshots docs/screenshots

fuzz: $(READY) ## schemathesis over the whole API: thousands of cases (FUZZ_EXAMPLES=40 FUZZ_SEEDS=1,2,3)
	@FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-40} FUZZ_SEEDS=$${FUZZ_SEEDS:-1,2,3} \
	  .venv/bin/python -m pytest -n 2 -q -rP tests/web/test_api_fuzz.py

operations: $(READY) ## 100,000 jobs requeued in bulk, and what other calls feel of it (JOBS=100000)
	@exec .venv/bin/python -m benchmarks.operations --jobs $${JOBS:-100000}

viewers: $(READY) ## 100 open pages that poll: what they cost, and what workers feel (VIEWERS=100 SECONDS=120)
	@exec .venv/bin/python -m benchmarks.viewers --viewers $${VIEWERS:-100} --seconds $${SECONDS:-120}

pages: $(READY) ## How long each page and search takes the server with a million jobs stored (JOBS=1000000)
	@exec .venv/bin/python -m benchmarks.pages --jobs $${JOBS:-1000000}

peers: $(READY) .peers/.ready ## The same faults on Celery, RQ, Dramatiq, BullMQ and here (ROWS=1,2 PEERS=rq)
	@.venv/bin/python -m tests.system.peers.run --rows "$(ROWS)" --peers "$(PEERS)"
	@.venv/bin/python -m tests.system.faults.report

# Every file of every locked version, for each Python from 3.11 on. Kept pins stay: UPGRADE=1 renews them.
lock: .supply/.ready ## requirements*.lock from requirements*.txt, with hashes (UPGRADE=1)
	@for name in requirements requirements-dev requirements-supply; do \
	  constraint=; [ $$name = requirements-dev ] && constraint="--constraints requirements.lock"; \
	  .supply/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-header --no-annotate $${UPGRADE:+--upgrade} $$constraint $$name.txt \
	    --output-file $$name.lock || exit 1; \
	done

sbom: .supply/.ready ## What runs in production, as CycloneDX: build/sbom.json
	@mkdir -p build
	@.supply/bin/cyclonedx-py requirements --output-reproducible --output-format JSON \
	  --output-file build/sbom.json requirements.lock

# Strict, and judged by a script: on its own, pip-audit finds nothing wrong with what it cannot look up.
audit-deps: .supply/.ready ## Known vulnerabilities; fails if a package could not be checked
	@mkdir -p build
	@rm -f build/audit.json
	@.supply/bin/pip-audit --strict --progress-spinner off --disable-pip --require-hashes \
	  --requirement requirements-dev.lock --format json --output build/audit.json; \
	  $(PYTHON) .ci/audit_deps.py requirements-dev.lock build/audit.json

clean: ## Remove .venv and caches; .data stays
	rm -rf .venv .supply build .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements.lock requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or later is needed: install it, or name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) lacks its venv module: apt-get install python3-venv"; exit 1; }
	@echo "Setting up .venv (once, a minute or two)"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --disable-pip-version-check --require-hashes -r requirements-dev.lock >.venv/pip.log 2>&1 || \
	  { cat .venv/pip.log; exit 1; }
	@touch $@

.supply/.ready: requirements-supply.lock
	@$(PYTHON) -m venv .supply
	@.supply/bin/python -m pip install --disable-pip-version-check --require-hashes -r $< >.supply/pip.log 2>&1 || \
	  { cat .supply/pip.log; exit 1; }
	@touch $@

# The peers of `make peers`, in a virtual environment and node_modules of their own.
.peers/.ready: tests/system/peers/requirements.txt tests/system/peers/package-lock.json
	@node --version >/dev/null 2>&1 && npm --version >/dev/null 2>&1 || \
	  { echo "make peers needs Node and npm, for BullMQ: apt-get install nodejs npm"; exit 1; }
	@echo "Setting up .peers (once, a minute)"
	@mkdir -p .peers
	@$(PYTHON) -m venv .peers/venv
	@.peers/venv/bin/python -m pip install --disable-pip-version-check -r $< >.peers/pip.log 2>&1 || \
	  { cat .peers/pip.log; exit 1; }
	@cp tests/system/peers/package.json tests/system/peers/package-lock.json .peers/
	@npm ci --prefix .peers --ignore-scripts --no-audit --no-fund >.peers/npm.log 2>&1 || \
	  { cat .peers/npm.log; exit 1; }
	@touch $@
