# Short names for the commands in README.md and docs/.

PROFILE ?= nginx

# Images of Python set it. The tests start hundreds of Python processes, and each of them would compile all its modules.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: up down test test-all conformance swarm-test bench engine clean

up: engine
	docker compose --profile $(PROFILE) up --build --wait

down:
	docker compose --profile nginx --profile apache --profile direct --profile hub down

# The everyday run: unit tests and the contract.
test: engine .venv
	.venv/bin/pytest

# Also the tests that need their own stack, or time.
test-all: engine .venv
	.venv/bin/pytest tests/unit tests/e2e tests/faults

conformance: engine .venv
	@# In advance, because several tests need it at the same time.
	tools/engine debian:bullseye-slim
	.venv/bin/pytest tests/conformance

swarm-test: engine .venv
	.venv/bin/pytest --numprocesses=0 tests/swarm

bench: engine bench/.venv
	bench/.venv/bin/python -m bench

engine:
	tools/engine

bench/.venv: bench/requirements.txt
	python3 -m venv --clear $@
	$@/bin/pip install --quiet --require-hashes --requirement $<
	touch $@

.venv: tests/requirements.txt
	python3 -m venv --clear .venv
	.venv/bin/pip install --quiet --require-hashes --requirement tests/requirements.txt
	touch .venv

# What tests and bench keep for their next run: environments, images of clients and test tools, Docker's build cache.
clean:
	rm -rf .venv bench/.venv .hypothesis .*_cache
	docker image ls --quiet --filter 'reference=wss-clients' --filter 'reference=wss-autobahn' \
	    --filter 'reference=wss-sslyze' --filter 'reference=wss-swarm-node' --filter 'reference=wss-bench*' \
	    | xargs --no-run-if-empty docker image rm --force
	docker builder prune --force
