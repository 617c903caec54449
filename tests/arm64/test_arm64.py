"""The profile nginx, built for arm64, serves on a machine that emulates this processor."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from client import target_of
from docker.errors import ImageNotFound
from eventually import eventually
from fixtures import Connect, NewStack
from run import Run
from stack import REPOSITORY

EMULATOR_IMAGE = "wss-arm64-emulator"
BASE_IMAGE = "wss-arm64-base"
BUILD_TIMEOUT = 3600.0  # seconds; an emulated processor is about ten times slower


@pytest.fixture
def base_image(engine: docker.DockerClient, run: Run) -> Iterator[str]:
    """Emulate arm64 during the test; make its base image once, until `make clean`."""
    emulator = REPOSITORY / "tests" / "arm64" / "emulator"
    subprocess.run(["docker", "build", "--quiet", f"--tag={EMULATOR_IMAGE}", str(emulator)], check=True)
    container = engine.containers.run(EMULATOR_IMAGE, name=f"{run.name}-emulator", privileged=True, detach=True)
    try:
        eventually(lambda: b"arm64" in container.exec_run("arch-test").output, "the emulator is registered")
        try:
            engine.images.get(BASE_IMAGE)
        except ImageNotFound:
            making = ["docker", "exec", str(container.id), "base-image"]
            importing = ["docker", "import", "--platform=linux/arm64", "--change=CMD bash", "-", BASE_IMAGE]
            with subprocess.Popen(making, stdout=subprocess.PIPE) as made:
                subprocess.run(importing, stdin=made.stdout, check=True)
            if made.returncode:
                engine.images.remove(BASE_IMAGE)
            assert made.returncode == 0
        yield BASE_IMAGE
    finally:
        container.stop()  # not kill: it ends the emulation
        container.remove(v=True)


def test_an_arm64_stack_answers(
    engine: docker.DockerClient, base_image: str, new_stack: NewStack, connect: Connect, ca_file: Path
) -> None:
    stack = new_stack("nginx", BASE_IMAGE=base_image, DOCKER_DEFAULT_PLATFORM="linux/arm64")
    built = stack.compose("build", timeout=BUILD_TIMEOUT)
    assert built.code == 0, built.output
    stack.up()
    assert {engine.images.get(stack.image(name)).attrs["Architecture"] for name in ("nginx", "backend", "certs")} == {
        "arm64"
    }
    websocket = connect(target_of(stack, ca_file))
    websocket.send("tom")
    assert websocket.recv() == "ok"
    assert stack.run_in("backend", "uname", "-m").strip() == "aarch64"
