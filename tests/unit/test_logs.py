"""The log: one line at the end of each connection, with its traffic and close code."""

import json
import secrets
import struct
from pathlib import Path
from typing import Any

import pytest
import websocket
from server import TIMEOUT, Server, Start

TRUSTED = {"TRUSTED_PROXIES": "127.0.0.0/8,::1"}


class Client:
    """A WebSocket, and its line in the log, which is found by its id."""

    def __init__(self, server: Server, identity: str = "") -> None:
        self._server = server
        self._id = identity or secrets.token_hex(8)
        url = f"ws://localhost:{server.port}/wss?token=secret"
        self.ws = websocket.create_connection(url, timeout=TIMEOUT, header=[f"X-Request-ID: {self._id}"])

    def disconnect(self) -> None:
        """Close the TCP connection without a close frame. `close()` would leave it open if one was received."""
        self.ws.shutdown()  # type: ignore[no-untyped-call]

    def line(self) -> dict[str, Any]:
        """Wait for the line about the end of the connection."""
        line = json.loads(self._server.wait_for(rf'(.*"event": "closed".*"id": "{self._id}".*)'))
        assert isinstance(line, dict)
        return line


def test_it_has_the_traffic_in_both_directions(share: Start) -> None:
    client = Client(share(APP="apps.echo:handler", **TRUSTED))
    for message in ("tom", "jerry"):
        client.ws.send(message)
        client.ws.recv()
    client.disconnect()
    line = client.line()
    assert (line["messages_in"], line["bytes_in"], line["messages_out"], line["bytes_out"]) == (2, 8, 2, 8)
    assert (line["client"], line["path"]) == ("127.0.0.1", "/wss") or line["client"] == "::1"
    assert "secret" not in str(line)


def test_pongs_do_not_count_as_messages(start: Start, tmp_path: Path) -> None:
    (tmp_path / "pinging.py").write_text(
        "async def handler(connection):\n    await (await connection.ping())\n    await connection.send('ponged')\n"
    )
    client = Client(start(APP="pinging:handler", PYTHONPATH=str(tmp_path), **TRUSTED))
    assert client.ws.recv() == "ponged"
    client.disconnect()
    line = client.line()
    assert (line["messages_in"], line["bytes_in"], line["messages_out"]) == (0, 0, 1)


@pytest.mark.parametrize(
    ("payload", "code"), [(struct.pack(">H", 1000), 1000), (struct.pack(">H", 4000), 4000), (b"", 1005)]
)
def test_it_has_the_close_code_of_the_client(share: Start, payload: bytes, code: int) -> None:
    client = Client(share(**TRUSTED))
    client.ws.send(payload, websocket.ABNF.OPCODE_CLOSE)
    line = client.line()
    assert (line["code"], line["closed_by"]) == (code, "client")
    client.disconnect()


def test_a_client_that_disconnects_without_a_close_frame_is_a_1006(share: Start) -> None:
    client = Client(share(**TRUSTED))
    client.disconnect()
    line = client.line()
    assert (line["code"], line["closed_by"]) == (1006, "nobody")


def test_a_stop_is_a_1001_of_the_server(start: Start) -> None:
    server = start(**TRUSTED)
    client = Client(server)
    server.process.terminate()
    client.ws.recv_data_frame(control_frame=True)
    line = client.line()
    client.disconnect()
    assert (line["code"], line["closed_by"]) == (1001, "server")


def test_a_request_id_that_is_not_from_a_proxy_is_not_used(share: Start) -> None:
    server = share()
    client = Client(server, "4711")
    client.disconnect()
    # The other tests here show that it is used if it comes from a proxy.
    assert json.loads(server.wait_for('(.*"event": "closed".*)'))["id"] != "4711"


@pytest.mark.parametrize("path", ['/"', "/%0a", "/\u2028", "/\\"])
def test_no_data_from_a_client_breaks_a_line(share: Start, path: str) -> None:
    server = share(**TRUSTED, LOG_FORMAT="json")  # not shared with other tests
    Client(server, f'{path}\t"').disconnect()
    assert json.loads(server.wait_for('(.*"event": "closed".*)'))["code"] == 1006


def test_the_log_format_can_be_text(start: Start) -> None:
    server = start(LOG_FORMAT="text")
    assert not server.lines[-1].startswith("{")
