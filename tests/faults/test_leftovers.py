"""A run of the suite removes what it created, even if it was interrupted or killed; only reusable images remain."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import docker
import pytest
from eventually import LIMIT, eventually
from stack import REPOSITORY

pytestmark = pytest.mark.long


@pytest.fixture
def run_name() -> str:
    return secrets.token_hex(4)


@pytest.fixture
def running(run_name: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another run of the suite, in a new session, which starts a stack."""
    command = [sys.executable, "-m", "pytest", "--numprocesses=2", "tests/e2e/test_connect.py", "-k", "nginx"]
    environment = {**os.environ, "E2E_RUN": run_name}
    for name in [name for name in environment if name.startswith("PYTEST_")]:
        del environment[name]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    yield process
    if process.poll() is None:
        process.kill()
    process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_leaves_nothing_behind(
    engine: docker.DockerClient, run_name: str, running: subprocess.Popen[bytes], number: signal.Signals
) -> None:
    prefix = f"wss-e2e-{run_name}"
    eventually(
        lambda: engine.containers.list(all=True, ignore_removed=True, filters={"name": prefix}),
        "the run starts a stack",
    )
    running.send_signal(number)
    running.wait(LIMIT)
    eventually(lambda: not _leftovers(engine, prefix), "everything of the run is removed")


def _leftovers(engine: docker.DockerClient, prefix: str) -> list[str]:
    """Return the ids of the Docker objects that the run has created."""
    named: dict[str, Any] = {"name": prefix}
    images = [
        str(image.id)
        for image in engine.images.list()
        for name in (*image.tags, image.labels.get("com.docker.compose.project", ""))
        if name.startswith(prefix)
    ]
    containers = engine.containers.list(all=True, ignore_removed=True, filters=named)
    networks, volumes = engine.networks.list(filters=named), engine.volumes.list(filters=named)
    return [*images, *(str(each.id) for each in (*containers, *networks, *volumes))]
