# Thin lines over the commands of the README.

PROFILE ?= nginx

.PHONY: up down test conformance swarm-test bench engine

up: engine
	docker compose --profile $(PROFILE) up --build --wait

down:
	docker compose --profile nginx --profile apache --profile direct --profile hub down

test: engine .venv
	.venv/bin/pytest

conformance: engine .venv
	@# Before several tests want it at a time.
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
