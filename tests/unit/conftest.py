"""The fixtures that several files share."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from server import Server, Start


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as running:

        def start(**environment: str) -> Server:
            server = Server(**environment)
            running.callback(server.process.communicate)
            running.callback(server.process.kill)
            return server

        yield start
