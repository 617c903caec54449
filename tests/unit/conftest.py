"""Fixtures that several files use."""

import os
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest
import trustme
from faulty_servers import NAME
from server import Server, Start
from server_fixtures import connect, start

__all__ = ("connect", "start")

# No deadline, so that tests do not fail on a slow machine. In CI the examples are the same in each run of a commit.
hypothesis.settings.register_profile("wss", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("wss")


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return path


@pytest.fixture(scope="session")
def tls_dir(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tls")
    leaf = ca.issue_cert("localhost", "elsewhere.example")
    leaf.private_key_pem.write_to_path(directory / "server.key")
    leaf.cert_chain_pems[0].write_to_path(directory / "server.pem")
    return directory


@pytest.fixture
def server_context(ca: trustme.CA) -> ssl.SSLContext:
    """For the servers that the doctor examines."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(NAME).configure_cert(context)
    return context


@pytest.fixture
def client_context(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(context)
    return context


@pytest.fixture(scope="session")
def _servers() -> Iterator[dict[frozenset[tuple[str, str]], Server]]:
    servers: dict[frozenset[tuple[str, str]], Server] = {}
    yield servers
    for server in servers.values():
        assert server.stop() == 0
        server.close()


@pytest.fixture
def share(_servers: dict[frozenset[tuple[str, str]], Server]) -> Start:
    """Return a function that returns a running server with these settings, for tests that do not change its state."""

    def share(**environment: str) -> Server:
        settings = frozenset(environment.items())
        if settings not in _servers:
            _servers[settings] = Server(**environment)
        server = _servers[settings]
        server.forget_log()
        return server

    return share


@pytest.fixture
def clients() -> Iterator[ExitStack]:
    """A stack of callbacks that close the test's clients."""
    with ExitStack() as opened:
        yield opened
