"""Fixtures for rooms over several servers, which are processes of this machine, with a hub in a container."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import docker
import pytest
from hub_container import HubContainer, StartServers
from run import Run
from server import HARNESS, Server

HANDLER = {
    "APP": "rooms_rpc:handler",
    "PYTHONPATH": str(HARNESS / "probe"),
    "HISTORY": "tea*=2000,1h,1M short*=5,1h,1M",
}


@pytest.fixture(scope="module")
def hub(engine: docker.DockerClient, run: Run) -> Iterator[HubContainer]:
    hub = HubContainer(engine, run)
    yield hub
    hub.remove()


@pytest.fixture
def hub_to_stop(engine: docker.DockerClient, run: Run) -> Iterator[Callable[..., HubContainer]]:
    """Return a function that starts a hub of this test's own."""
    with ExitStack() as running:

        def start(**environment: str) -> HubContainer:
            hub = HubContainer(engine, run, **environment)
            running.callback(hub.remove)
            return hub

        yield start


@pytest.fixture(scope="module")
def start_servers() -> Iterator[StartServers]:
    with ExitStack() as running:

        def start(hub: HubContainer, number: int, **environment: str) -> list[Server]:
            servers = []
            for _ in range(number):
                server = Server(HUB=hub.url, WORKERS="2", **{**HANDLER, **environment})
                running.callback(server.close)
                servers.append(server)
            return servers

        yield start
