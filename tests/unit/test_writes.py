"""When messages are written: at the end of the turn of the event loop in which they are sent."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
import trustme
from wss import Connection
from wss.testing import serve

TIMEOUT = 60


@pytest.mark.parametrize("is_tls", [False, True], ids=["ws", "wss"])
def test_a_message_arrives_before_a_computation_that_blocks_the_event_loop(
    ca: trustme.CA, tls_dir: Path, tmp_path: Path, is_tls: bool
) -> None:
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    files: dict[str, Any] = {"tls": tls_dir, "ca": tmp_path / "ca.pem"} if is_tls else {}
    has_arrived = threading.Event()

    async def handler(connection: Connection) -> None:
        await connection.send("it takes a while")
        await asyncio.sleep(0)  # docs/handler.md
        await connection.send("done" if has_arrived.wait(TIMEOUT) else "it did not arrive")

    with serve(handler, **files) as server, server.connect() as client:
        assert client.recv(TIMEOUT) == "it takes a while"
        has_arrived.set()
        assert client.recv(TIMEOUT) == "done"
