# Short names for the commands in README.md and docs/.

PROFILE ?= nginx
ALL = --profile nginx --profile apache --profile direct --profile hub --profile doctor

# Images of Python set it. The tests start hundreds of Python processes, and each of them would compile all its modules.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: up down lint test test-all conformance swarm-test kubernetes-test rootless-test arm64-test chaos bench \
    screenshots outdated updates grafana sbom engine clean

up: engine
	docker compose --profile $(PROFILE) up --build --wait

down:
	docker compose $(ALL) down

# What .pre-commit-config.yaml lists, on all files.
lint: .venv
	.venv/bin/pip install --quiet --require-hashes --requirement .ci/requirements.txt
	.venv/bin/pre-commit run --all-files --hook-stage pre-push

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

# In the cluster of KUBECONFIG, or in one that it starts; the first run builds Kubernetes. OVERLAY=apache: with Apache.
kubernetes-test: engine .venv
	.venv/bin/pytest --numprocesses=0 tests/kubernetes

rootless-test: engine .venv
	.venv/bin/pytest --numprocesses=0 tests/rootless

arm64-test: engine .venv
	.venv/bin/pytest --numprocesses=0 tests/arm64

# Options: make chaos CHAOS="--profile apache --seconds 10"
chaos: engine .venv
	@PYTHONPATH=backend:examples/clients:tests:tests/harness .venv/bin/python -m chaos $(CHAOS)

# Options: make bench BENCH="--thorough"
bench: engine bench/.venv
	bench/.venv/bin/python -m bench $(BENCH)
	bench/.venv/bin/python -m bench.publish

# The pictures in docs/images, from the pages of a running stack.
screenshots: engine .venv
	.venv/bin/pytest --numprocesses=0 tests/screenshots

# Pinned packages of which there is a newer version.
outdated: .venv
	.venv/bin/pip install --quiet --require-hashes --requirement tools/requirements.txt
	PATH="$$PWD/.venv/bin:$$PATH" python tools/outdated.py

# Packages of the built images for which Debian has updates.
updates: engine
	tools/updates

# deploy/grafana/dashboard.json, from the page of monitoring.yaml.
grafana:
	python3 -m venv --clear deploy/grafana/.venv
	deploy/grafana/.venv/bin/pip install --quiet --require-hashes --requirement deploy/grafana/requirements.txt
	deploy/grafana/.venv/bin/python deploy/grafana/dashboard.py

# What each image contains, as SPDX, in sbom/.
sbom: engine .venv
	.venv/bin/pip install --quiet --require-hashes --requirement tools/requirements.txt
	docker compose $(ALL) build --quiet
	mkdir -p sbom
	for image in $$(docker compose $(ALL) config --images | sort -u); do \
	    name=$${image##*/}; SYFT_CHECK_FOR_APP_UPDATE=false \
	    .venv/bin/syft scan --quiet "docker:$$image" --output "spdx-json=sbom/$${name%%:*}.spdx.json" || exit; \
	done

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
	rm -rf .venv bench/.venv deploy/grafana/.venv .hypothesis .*_cache sbom
	docker image ls --quiet --filter 'reference=wss-clients' --filter 'reference=wss-autobahn' \
	    --filter 'reference=wss-sslyze' --filter 'reference=wss-browsers' \
	    --filter 'reference=wss-swarm-node' --filter 'reference=wss-kubernetes-*' --filter 'reference=wss-rootless-host' \
	    --filter 'reference=wss-arm64-*' --filter 'reference=wss-bench*' \
	    | xargs --no-run-if-empty docker image rm --force
	docker builder prune --force
