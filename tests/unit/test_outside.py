"""Requests from outside: POST /push and POST /close on the internal port, and the commands `push` and `close`."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from eventually import eventually
from server import BACKEND, TIMEOUT, Server, Start, run_command
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

HANDLER = """
from wss.rooms import rooms


async def handler(connection):
    name = connection.path.removeprefix("/ws/")
    await rooms.join(connection, "tea")
    await rooms.bind(connection, name)
    await connection.send(rooms.id(connection))
    await connection.wait_closed()
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the handler of these tests is."""
    directory = tmp_path_factory.mktemp("pushed")
    (directory / "pushed.py").write_text(HANDLER)
    return directory


@pytest.fixture
def run_dir(directory: Path) -> Path:
    return directory / "run"


@pytest.fixture
def settings(directory: Path) -> dict[str, str]:
    return {"APP": "pushed:handler", "PYTHONPATH": f"{BACKEND}{os.pathsep}{directory}", "WS_PATHS": "/ws/*"}


@pytest.fixture
def server(share: Start, settings: dict[str, str], run_dir: Path) -> Server:
    return share(**settings, RUN_DIR=str(run_dir), MAX_MESSAGE="1K")


@pytest.fixture
def clients() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def join(server: Server, clients: ExitStack, name: str) -> tuple[ClientConnection, str]:
    """Open a websocket as this user; return it and its client id."""
    client = clients.enter_context(connect(f"ws://localhost:{server.port}/ws/{name}", proxy=None, open_timeout=60))
    return client, str(client.recv(timeout=TIMEOUT))


def post(
    server: Server, query: str, body: str | bytes = "hello", path: str = "/push", **headers: str
) -> tuple[int, Any]:
    connection = HTTPConnection("localhost", server.metrics_port, timeout=TIMEOUT)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", f"{path}?{query}", body.encode() if isinstance(body, str) else body, named)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("query", "receivers"),
    [
        ("room=tea", ["ann", "bob"]),
        ("user=ann", ["ann"]),
        ("client={ann}", ["ann"]),
        ("all", ["ann", "bob"]),
        ("room=coffee", []),
        ("user=nobody", []),
        ("client=gone.1", []),
    ],
)
def test_a_message_reaches_its_clients(server: Server, clients: ExitStack, query: str, receivers: list[str]) -> None:
    opened = {name: join(server, clients, name) for name in ("ann", "bob")}
    ids = {name: id_ for name, (_, id_) in opened.items()}
    assert post(server, query.format(**ids)) == (200, {"workers": int(bool(receivers))})
    post(server, "all", "end")  # behind it
    for name, (client, _) in opened.items():
        expected = ["hello", "end"] if name in receivers else ["end"]
        assert [client.recv(timeout=TIMEOUT) for _ in expected] == expected


def test_json_is_text_and_bytes_are_bytes(server: Server, clients: ExitStack) -> None:
    client, _ = join(server, clients, "ann")
    post(server, "all", '{"a": "\u00e9"}', Content_Type="application/json")
    post(server, "all", b"\x00\xff", Content_Type="application/octet-stream")
    assert [client.recv(timeout=TIMEOUT), client.recv(timeout=TIMEOUT)] == ['{"a": "\u00e9"}', b"\x00\xff"]


@pytest.mark.parametrize(
    ("query", "body", "headers", "status", "text"),
    [
        ("", "hello", {}, 400, "Give one of ?room=NAME"),
        ("room=tea&user=ann", "hello", {}, 400, "Give one of ?room=NAME"),
        ("planet=mars", "hello", {}, 400, "Give one of ?room=NAME"),
        ("room=tea", b"\xff", {}, 400, "not valid UTF-8"),
        ("room=tea", "x" * 1025, {}, 413, "MAX_MESSAGE is 1024"),
        ("room=tea", "hello", {"Content_Length": "x"}, 411, "Give a Content-Length"),
    ],
)
def test_a_bad_request_gets_one_clear_error(
    server: Server, query: str, body: str | bytes, headers: dict[str, str], status: int, text: str
) -> None:
    answered, content = post(server, query, body, **headers)
    assert answered == status
    assert text in content["error"]


@pytest.mark.parametrize(
    ("query", "closed", "code", "reason"),
    [
        ("room=tea", ["ann", "bob"], 4403, ""),
        ("user=ann", ["ann"], 4403, ""),
        ("client={ann}&code=4000&reason=signed+out", ["ann"], 4000, "signed out"),
        ("room=coffee", [], 0, ""),
        ("user=nobody", [], 0, ""),
        ("client=gone.1", [], 0, ""),
    ],
)
def test_the_connections_of_a_target_are_closed_and_no_others(
    server: Server, clients: ExitStack, query: str, closed: list[str], code: int, reason: str
) -> None:
    opened = {name: join(server, clients, name) for name in ("ann", "bob")}
    ids = {name: id_ for name, (_, id_) in opened.items()}
    assert post(server, query.format(**ids), path="/close") == (200, {"workers": int(bool(closed))})
    post(server, "all", "end")
    for name, (client, _) in opened.items():
        if name in closed:
            with pytest.raises(ConnectionClosed) as ending:
                client.recv(timeout=TIMEOUT)
            assert ending.value.rcvd
            assert (ending.value.rcvd.code, ending.value.rcvd.reason) == (code, reason)
        else:
            assert client.recv(timeout=TIMEOUT) == "end"


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "Give one of ?room=NAME"),
        ("all", "Give one of ?room=NAME"),
        ("code=4000", "Give one of ?room=NAME"),
        ("room=tea&user=ann", "Give one of ?room=NAME"),
        ("user=ann&user=bob", "Give one of ?room=NAME"),
        ("user=ann&colour=red", "Give one of ?room=NAME"),
        ("user=ann&code=1005", "code='1005', reason='': 1005 cannot be sent as a close code"),
        ("user=ann&code=high", "code='high', reason=''"),
        (f"user=ann&reason={'x' * 124}", "126 bytes in a control frame"),
    ],
)
def test_a_close_that_is_not_possible_gets_one_clear_error(server: Server, query: str, text: str) -> None:
    status, content = post(server, query, path="/close")
    assert status == 400
    assert text in content["error"]


def test_get_is_not_allowed_and_the_metrics_are_beside(server: Server) -> None:
    for path, status in (("/push?all", 405), ("/close?user=ann", 405), ("/metrics", 200)):
        connection = HTTPConnection("localhost", server.metrics_port, timeout=TIMEOUT)
        connection.request("GET", path)
        assert connection.getresponse().status == status
        connection.close()


def test_a_token_is_required_if_it_is_set(start: Start, settings: dict[str, str]) -> None:
    server = start(**settings, PUSH_TOKEN="s3cret")  # noqa: S106
    assert post(server, "all")[0] == 401
    assert post(server, "all", Authorization="Bearer wrong")[0] == 401
    assert post(server, "all", Authorization="Bearer \u00e9")[0] == 401
    assert post(server, "all", Authorization="Bearer s3cret") == (200, {"workers": 0})
    assert post(server, "user=ann", path="/close")[0] == 401
    assert post(server, "user=ann", path="/close", Authorization="Bearer s3cret") == (200, {"workers": 0})


def test_a_handler_without_rooms_is_named(start: Start) -> None:
    server = start(APP="apps.echo:handler")
    for answer in (post(server, "all"), post(server, "user=ann", path="/close")):
        assert answer == (409, {"error": "The handler does not use wss.rooms."})


def command(run_dir: Path, *arguments: str, text: str = "", name: str = "push") -> "subprocess.CompletedProcess[str]":
    return run_command(f"wss.{name}", run_dir, *arguments, text=text)


def test_the_command_sends_text(server: Server, clients: ExitStack, run_dir: Path) -> None:
    client, _ = join(server, clients, "ann")
    assert command(run_dir, "--room", "tea", "hello").stdout == "received by 1 worker\n"
    assert command(run_dir, "--all", "-", text="from stdin").returncode == 0
    assert [client.recv(timeout=TIMEOUT), client.recv(timeout=TIMEOUT)] == ["hello", "from stdin"]


def test_the_command_closes(server: Server, clients: ExitStack, run_dir: Path) -> None:
    client, _ = join(server, clients, "ann")
    done = command(run_dir, "--user", "ann", "--code", "4000", "--reason", "signed out", name="close")
    assert done.stdout == "carried out by 1 worker\n"
    with pytest.raises(ConnectionClosed, match=r"4000.*signed out"):
        client.recv(timeout=TIMEOUT)
    failed = command(run_dir, "--user", "ann", "--code", "1006", name="close")
    assert (failed.returncode, failed.stderr) == (
        1,
        "error: code='1006', reason='': 1006 cannot be sent as a close code: use 1000, or one of 3000 to 4999.\n",
    )


@pytest.mark.usefixtures("server")
def test_the_command_reports_what_cannot_be_sent(run_dir: Path) -> None:
    too_long = command(run_dir, "--all", "-", text="x" * (1024 * 1024 + 1))
    assert too_long.stderr == "error: The message has 1048577 bytes. MAX_MESSAGE is 1048576.\n"
    half_a_pair = command(run_dir, "--room", "\udc80", "hello")
    assert half_a_pair.returncode == 1
    assert "UnicodeEncodeError" in half_a_pair.stderr


def test_the_command_fails_without_a_server(tmp_path: Path) -> None:
    failed = command(tmp_path, "--all", "hello")
    assert (failed.returncode, failed.stderr) == (1, "error: No worker responds. Is the server running?\n")


def test_a_message_after_a_stop_is_an_error(
    start: Start, settings: dict[str, str], clients: ExitStack, tmp_path: Path
) -> None:
    server = start(**settings, RUN_DIR=str(tmp_path))
    client, _ = join(server, clients, "ann")
    server.process.terminate()
    with pytest.raises(ConnectionClosed):
        client.recv(timeout=TIMEOUT)
    eventually(lambda: command(tmp_path, "--all", "late").returncode == 1, "the command fails")
