"""Rows 1 to 8, 11 and 14 of the contract, with servers other than ours behind the proxies: those in examples/."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio  # type: ignore[import-untyped]
import websocket
from client import TIMEOUT, UPGRADE, http_request
from closing import SERVICE_RESTART, close_code
from eventually import until
from example_servers import Example, running_example
from fixtures import Connect, NewStack
from stack import REPOSITORY
from time_limit import slowness

pytestmark = [pytest.mark.long, pytest.mark.profiles("nginx", "apache")]

FORGED = "203.0.113.7"
FORGERIES = {
    "X-Real-IP": FORGED,
    "X-Forwarded-For": f"{FORGED}, 198.51.100.1",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Proto": "http",
    "Forwarded": f"for={FORGED};host=evil.example;proto=http",
}


@pytest.fixture(scope="module")
def example(
    request: pytest.FixtureRequest, profile: str, new_shared_stack: NewStack, ca_file: Path
) -> Iterator[Example]:
    with running_example(request.param, profile, new_shared_stack, ca_file) as example:
        yield example


def with_examples(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("example", names, indirect=True)


@with_examples("fastapi", "node", "host")
def test_the_contract_holds_for_an_echo_of_another_server(example: Example) -> None:
    """As in docs/existing-server.md; the tests that need our backend are left out."""
    command = ["pytest", "tests/e2e", "--numprocesses=0", "--url", example.target.url, "--echo"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "E2E_"))}
    done = subprocess.run(
        [sys.executable, "-m", *command, "--ca", str(example.target.ca)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) > 50, done.stdout


@with_examples("fastapi")
def test_a_websocket_and_http_share_the_pool_of_a_fastapi_application(example: Example, connect: Connect) -> None:
    ws = connect(replace(example.target, path="/ws/notes/tea"))
    for note in ("湯姆", "two"):
        ws.send(note)
        assert ws.recv() == "stored"
    response = http_request(example.target, "/api/notes/tea")
    assert (response.status, json.loads(response.text)) == (200, ["湯姆", "two"])


@with_examples("fastapi")
def test_refusals_of_the_application_reach_the_client(example: Example) -> None:
    assert http_request(example.target, "/ws/none", headers=UPGRADE).status == 403
    refused = http_request(example.target, "/api/none")
    assert (refused.status, json.loads(refused.text)) == (404, {"detail": "Not Found"})
    # HTTP_PATHS never passes Upgrade on.
    assert http_request(example.target, "/api/whoami", headers=UPGRADE).status == 200


@with_examples("fastapi", "node")
def test_the_application_sees_the_address_scheme_and_host_of_each_client(example: Example, clients: str) -> None:
    headers = [argument for name, value in FORGERIES.items() for argument in ("--header", f"{name}: {value}")]
    curl = ["curl", "--silent", "--show-error", "--cacert", "/ca.pem", "--write-out", r"\n%{local_ip}", *headers]
    url = "https://wss.example/api/whoami"
    assert example.target.ca
    output = example.stack.run_beside(clients, [*curl, url], {"/ca.pem": example.target.ca})
    seen, own_address = output.splitlines()
    assert json.loads(seen) == {"address": own_address, "url": url}


@with_examples("fastapi", "node")
def test_the_application_sees_the_port_that_the_client_used(example: Example) -> None:
    seen = json.loads(http_request(example.target, "/api/whoami", headers=FORGERIES).text)
    assert seen["url"] == f"https://{example.target.authority}/api/whoami"


async def _read_whole(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Read each response: python-engineio drops the one that ends its polling, with the connection open."""
    response = await handler(request)
    if response.status != 101:
        await response.read()
    return response


@asynccontextmanager
async def _socketio_client(example: Example, transports: list[str]) -> AsyncIterator[socketio.AsyncClient]:
    # Not socketio.Client, which sends and receives in two threads: over TLS, 4 of its 60 connections lost a reply.
    sockets: list[socket.socket] = []

    def new_socket(address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, *_ = address
        sockets.append(socket.socket(family, kind, protocol))
        return sockets[-1]

    connector = aiohttp.TCPConnector(ssl=example.target.context(), socket_factory=new_socket)
    async with aiohttp.ClientSession(connector=connector, middlewares=[_read_whole]) as session:
        client = socketio.AsyncClient(http_session=session, reconnection=False)
        await client.connect(f"https://{example.target.authority}", headers=FORGERIES, transports=transports)
        try:
            yield client
        finally:
            await client.disconnect()
    # aiohttp does not wait for the TLS shutdown, and a loop that ends before it leaves the socket open.
    await until(lambda: all(opened.fileno() == -1 for opened in sockets), "each connection of the client is closed")


@with_examples("socketio")
@pytest.mark.parametrize(
    ("transports", "transport"),
    [(["polling"], "polling"), (["websocket"], "websocket"), (["polling", "websocket"], "websocket")],
    ids=["long polling", "WebSocket", "upgrade of long polling"],
)
def test_socketio_works_with_each_transport(example: Example, transports: list[str], transport: str) -> None:
    async def run() -> dict[str, str]:
        async with _socketio_client(example, transports) as client:
            assert client.transport() == transport
            data = {"text": "湯姆", "binary": b"\x00\xff", "long": "x" * 100_000}
            assert await client.call("echo", data, timeout=TIMEOUT) == data
            seen: dict[str, str] = await client.call("whoami", timeout=TIMEOUT)
            return seen

    seen = asyncio.run(run())
    # Connections to the published loopback port arrive from the bridge of one of the proxy's networks.
    networks = example.stack.container().attrs["NetworkSettings"]["Networks"].values()
    assert seen["address"] in {network["Gateway"] for network in networks}
    assert seen["host"] == example.target.authority


@with_examples("socketio")
def test_socketio_rooms_reach_clients_on_both_transports(example: Example) -> None:
    async def run() -> list[str]:
        said: asyncio.Queue[str] = asyncio.Queue()
        async with (
            _socketio_client(example, ["polling"]) as polling,
            _socketio_client(example, ["websocket"]) as upgraded,
        ):
            for client in (polling, upgraded):
                client.on("said", said.put)
                assert await client.call("join", "tea", timeout=TIMEOUT) == "tea"
            await upgraded.emit("say", ("tea", "hello"))
            async with asyncio.timeout(TIMEOUT):
                return [await said.get() for _ in range(2)]

    assert asyncio.run(run()) == ["hello", "hello"]


# The last tests of each example: they stop it.


@with_examples("fastapi", "node")
def test_a_stop_closes_clients_with_the_code_of_the_application(example: Example, connect: Connect) -> None:
    """A stop reaches proxy and application at once. uvicorn sends 1012, and so does examples/node on SIGTERM."""
    websockets = [connect(example.target) for _ in range(20)]
    with ThreadPoolExecutor(len(websockets) + 1) as pool:
        stopped = pool.submit(example.stack.compose, "stop")
        codes = list(pool.map(close_code, websockets))
        assert stopped.result().code == 0
    assert codes == [SERVICE_RESTART] * len(websockets)
    assert _exit_codes(example) == {"app": 0, example.stack.profile: 0}


@with_examples("socketio")
def test_a_stop_disconnects_socketio_clients(example: Example) -> None:
    async def run() -> None:
        async with _socketio_client(example, ["websocket"]) as client:
            stopped = await asyncio.to_thread(example.stack.compose, "stop")
            assert stopped.code == 0
            async with asyncio.timeout(TIMEOUT):
                await client.wait()  # until it is disconnected

    asyncio.run(run())
    assert _exit_codes(example) == {"app": 0, example.stack.profile: 0}


def _exit_codes(example: Example) -> dict[str, int]:
    """Return the exit codes of the application and the proxy (137: killed after the grace period)."""
    services = ("app", example.stack.profile)
    return {name: example.stack.container(name).attrs["State"]["ExitCode"] for name in services}


@with_examples("host")
def test_a_proxy_that_stops_lets_clients_finish_until_its_grace_period_ends(example: Example, connect: Connect) -> None:
    """It cannot send close frames of another server, and that server does not know of the stop."""
    ws = connect(example.target)
    with ThreadPoolExecutor(1) as pool:
        stopped = pool.submit(example.stack.compose, "stop", example.stack.profile)
        seconds = 0.0
        started = time.monotonic()
        with suppress(websocket.WebSocketConnectionClosedException, OSError):
            while True:
                ws.send("tom")
                assert ws.recv() == "tom"
                seconds = time.monotonic() - started
        assert stopped.result().code == 0
    assert 10 < seconds < 25 * slowness()
    assert example.stack.container().attrs["State"]["ExitCode"] == 0
