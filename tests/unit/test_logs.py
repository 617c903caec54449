"""One line for each connection, at its end, that tells how it went."""

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
    """A websocket whose line in the log is found by its id."""

    def __init__(self, server: Server, identity: str = "") -> None:
        self._server = server
        self._id = identity or secrets.token_hex(8)
        url = f"ws://localhost:{server.port}/wss?token=secret"
        self.ws = websocket.create_connection(url, timeout=TIMEOUT, header=[f"X-Request-ID: {self._id}"])

    def leave(self) -> None:
        """Hang up, without a close frame if none was sent yet: `close()` would leave the socket open after one came."""
        self.ws.shutdown()  # type: ignore[no-untyped-call]

    def line(self) -> dict[str, Any]:
        """Wait for the line of the connection's end."""
        line = json.loads(self._server.wait_for(rf'(.*"event": "closed".*"id": "{self._id}".*)'))
        assert isinstance(line, dict)
        return line


def test_it_counts_what_went_both_ways(share: Start) -> None:
    client = Client(share(APP="apps.echo:handler", **TRUSTED))
    for message in ("tom", "jerry"):
        client.ws.send(message)
        client.ws.recv()
    client.leave()
    line = client.line()
    assert (line["messages_in"], line["bytes_in"], line["messages_out"], line["bytes_out"]) == (2, 8, 2, 8)
    assert (line["client"], line["path"]) == ("127.0.0.1", "/wss") or line["client"] == "::1"
    assert "secret" not in str(line)


def test_pongs_are_no_messages(start: Start, tmp_path: Path) -> None:
    (tmp_path / "pinging.py").write_text(
        "async def handler(connection):\n    await (await connection.ping())\n    await connection.send('ponged')\n"
    )
    client = Client(start(APP="pinging:handler", PYTHONPATH=str(tmp_path), **TRUSTED))
    assert client.ws.recv() == "ponged"
    client.leave()
    line = client.line()
    assert (line["messages_in"], line["bytes_in"], line["messages_out"]) == (0, 0, 1)


@pytest.mark.parametrize(
    ("payload", "code"), [(struct.pack(">H", 1000), 1000), (struct.pack(">H", 4000), 4000), (b"", 1005)]
)
def test_it_names_the_code_of_a_client_that_closes(share: Start, payload: bytes, code: int) -> None:
    client = Client(share(**TRUSTED))
    client.ws.send(payload, websocket.ABNF.OPCODE_CLOSE)
    line = client.line()
    assert (line["code"], line["closed_by"]) == (code, "client")
    client.leave()


def test_a_client_that_just_leaves_is_a_1006(share: Start) -> None:
    client = Client(share(**TRUSTED))
    client.leave()
    line = client.line()
    assert (line["code"], line["closed_by"]) == (1006, "nobody")


def test_a_stop_is_the_servers_1001(start: Start) -> None:
    server = start(**TRUSTED)
    client = Client(server)
    server.process.terminate()
    client.ws.recv_data_frame(control_frame=True)
    line = client.line()
    client.leave()
    assert (line["code"], line["closed_by"]) == (1001, "server")


def test_the_request_id_of_who_is_no_proxy_is_not_used(share: Start) -> None:
    server = share()
    client = Client(server, "4711")
    client.leave()
    # That it is used if it comes from a proxy, all other tests here show.
    assert json.loads(server.wait_for('(.*"event": "closed".*)'))["id"] != "4711"


@pytest.mark.parametrize("path", ['/"', "/%0a", "/\u2028", "/\\"])
def test_nothing_that_a_client_sends_breaks_a_line(share: Start, path: str) -> None:
    server = share(**TRUSTED, LOG_FORMAT="json")  # of these tests alone
    Client(server, f'{path}\t"').leave()
    assert json.loads(server.wait_for('(.*"event": "closed".*)'))["code"] == 1006


def test_people_get_text(start: Start) -> None:
    server = start(LOG_FORMAT="text")
    assert not server.lines[-1].startswith("{")
