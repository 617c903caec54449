"""Connections that have ended are freed at once, without the garbage collector: thousands may end together."""

from collections.abc import Callable
from pathlib import Path

import pytest
import websocket
from eventually import eventually
from server import TIMEOUT, Start

APP = """
import gc
from weakref import WeakSet

gc.disable()
alive = WeakSet()


async def handler(connection):
    alive.add(connection)
    async for message in connection:
        if message == "end":
            return
        await connection.send(str(len(alive)))
"""


def disconnect(client: websocket.WebSocket) -> None:
    client.shutdown()  # type: ignore[no-untyped-call]


def close(client: websocket.WebSocket) -> None:
    client.close()


def let_it_end(client: websocket.WebSocket) -> None:
    client.send("end")
    client.recv_data_frame(control_frame=True)
    disconnect(client)


@pytest.mark.parametrize("end", [disconnect, close, let_it_end])
def test_an_ended_connection_does_not_wait_for_the_garbage_collector(
    start: Start, tmp_path: Path, end: Callable[[websocket.WebSocket], None]
) -> None:
    (tmp_path / "counting.py").write_text(APP)
    server = start(APP="counting:handler", PYTHONPATH=str(tmp_path))
    observer = websocket.create_connection(f"ws://localhost:{server.port}/wss", timeout=TIMEOUT)

    def alive() -> int:
        observer.send("?")
        return int(observer.recv())

    client = websocket.create_connection(f"ws://localhost:{server.port}/wss", timeout=TIMEOUT)
    client.send("?")
    assert client.recv() == "2"
    end(client)
    eventually(lambda: alive() == 1, "the connection is freed")
    close(observer)
