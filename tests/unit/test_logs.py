"""One line for each connection, at its end, that tells how it went."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import websocket
from server import TIMEOUT, Server, Start


def connect(server: Server, **options: Any) -> websocket.WebSocket:
    return websocket.create_connection(f"ws://localhost:{server.port}/wss?token=secret", timeout=TIMEOUT, **options)


def leave(ws: Any) -> None:
    """Hang up, without a close frame if none was sent yet: `close()` would leave the socket open after one came."""
    ws.shutdown()


def logged(server: Server) -> dict[str, Any]:
    server.wait_for('("event": "closed")')
    line = json.loads(server.lines[-1])
    assert isinstance(line, dict)
    return line


def test_it_counts_what_went_both_ways(start: Start) -> None:
    server = start(APP="apps.echo:handler")
    ws = connect(server)
    for message in ("tom", "jerry"):
        ws.send(message)
        ws.recv()
    leave(ws)
    line = logged(server)
    assert (line["messages_in"], line["bytes_in"], line["messages_out"], line["bytes_out"]) == (2, 8, 2, 8)
    assert (line["client"], line["path"]) == ("127.0.0.1", "/wss") or line["client"] == "::1"
    assert "secret" not in server.lines[-1]


def test_pongs_are_no_messages(start: Start, tmp_path: Path) -> None:
    (tmp_path / "pinging.py").write_text(
        "async def handler(connection):\n    await (await connection.ping())\n    await connection.send('ponged')\n"
    )
    server = start(APP="pinging:handler", PYTHONPATH=str(tmp_path))
    ws = connect(server)
    assert ws.recv() == "ponged"
    leave(ws)
    line = logged(server)
    assert (line["messages_in"], line["bytes_in"], line["messages_out"]) == (0, 0, 1)


@pytest.mark.parametrize(
    ("payload", "code"), [(struct.pack(">H", 1000), 1000), (struct.pack(">H", 4000), 4000), (b"", 1005)]
)
def test_it_names_the_code_of_a_client_that_closes(start: Start, payload: bytes, code: int) -> None:
    server = start()
    ws = connect(server)
    ws.send(payload, websocket.ABNF.OPCODE_CLOSE)
    line = logged(server)
    assert (line["code"], line["closed_by"]) == (code, "client")
    leave(ws)


def test_a_client_that_just_leaves_is_a_1006(start: Start) -> None:
    server = start()
    leave(connect(server))
    line = logged(server)
    assert (line["code"], line["closed_by"]) == (1006, "nobody")


def test_a_stop_is_the_servers_1001(start: Start) -> None:
    server = start()
    ws = connect(server)
    server.process.terminate()
    ws.recv_data_frame(control_frame=True)
    line = logged(server)
    leave(ws)
    assert (line["code"], line["closed_by"]) == (1001, "server")


@pytest.mark.parametrize(("trusted", "believed"), [("127.0.0.0/8,::1", True), ("", False)])
def test_the_request_id_is_the_proxys_and_only_the_proxys(start: Start, trusted: str, believed: bool) -> None:
    server = start(TRUSTED_PROXIES=trusted)
    leave(connect(server, header=["X-Request-ID: 4711"]))
    assert (logged(server)["id"] == "4711") == believed


@pytest.mark.parametrize("path", ['/"', "/%0a", "/\u2028", "/\\"])
def test_nothing_that_a_client_sends_breaks_a_line(start: Start, path: str) -> None:
    server = start(TRUSTED_PROXIES="127.0.0.0/8,::1")
    leave(connect(server, header=[f'X-Request-ID: {path}\t"']))
    assert logged(server)["code"] == 1006


def test_people_get_text(start: Start) -> None:
    server = start(LOG_FORMAT="text")
    assert not server.lines[-1].startswith("{")
