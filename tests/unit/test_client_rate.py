"""MESSAGE_RATE and BYTE_RATE: who sends too much is read more slowly, then closed; a neighbour notices nothing."""

import json
import os
import re
import select
import socket
import ssl
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.request import urlopen

import pytest
from eventually import eventually
from hypothesis import given
from hypothesis import strategies as st
from raw import BINARY, CLOSE, CONTINUATION, HANDSHAKE, PING, TEXT, frame
from server import BACKEND, TIMEOUT, Server, Start
from websockets.sync.client import connect
from wss.connection.client_rate import BURST, TokenBucket

MESSAGES, BYTES, LARGE = 100, 64 * 1024, 32 * 1024
NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
LIMITS = {"MESSAGE_RATE": str(MESSAGES), "BYTE_RATE": "64K", "MAX_MESSAGE": "32K"}
FLOODS = {
    "small messages": ("MESSAGE_RATE", frame(TEXT, b"x") * 1000),
    "large messages": ("BYTE_RATE", frame(BINARY, bytes(LARGE)) * 4),
    "fragments": ("BYTE_RATE", (frame(BINARY, bytes(1024), fin=False) + frame(CONTINUATION, bytes(1024))) * 64),
    "pings": ("MESSAGE_RATE", frame(PING, b"x") * 1000),
}


@given(
    takes=st.lists(st.tuples(st.floats(0, 2), st.integers(0, 50)), max_size=100), rate=st.sampled_from([10, 100, 65536])
)
def test_a_client_that_is_read_when_it_owes_nothing_gets_its_rate_and_one_burst(
    takes: list[tuple[float, int]], rate: int
) -> None:
    now, taken, capacity = 0.0, 0, BURST * rate
    bucket = TokenBucket("MESSAGE_RATE", rate, capacity, now)
    capacity += bucket.block
    for pause, number in takes:
        now += pause
        owed = bucket.take(number, now)
        assert 0 <= owed <= BURST
        now += owed
        taken += number
        assert taken <= capacity + rate * now + 1e-6


class Flood:
    """A client that sends the same frames as fast as it can, until it is closed. In one thread, which TLS needs."""

    def __init__(self, port: int, context: ssl.SSLContext | None, frames: bytes) -> None:
        plain = socket.create_connection(("localhost", port), TIMEOUT)
        self._socket = context.wrap_socket(plain, server_hostname="localhost") if context else plain
        self._socket.sendall(HANDSHAKE)
        self._socket.setblocking(False)
        self._frames = frames
        self.ending: bytes | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        sent, received, deadline = 0, b"", time.monotonic() + TIMEOUT
        while self.ending is None and time.monotonic() < deadline:
            select.select([self._socket], [self._socket], [], 0.1)
            with suppress(*NOT_NOW):
                sent = (sent + self._socket.send(self._frames[sent:])) % len(self._frames)
            with suppress(*NOT_NOW):
                received = self._take_frames(received + self._socket.recv(65536))
        self._socket.close()

    def _take_frames(self, received: bytes) -> bytes:
        """Look for the close frame; return what is not a whole frame."""
        if received.startswith(b"HTTP"):
            head, end, frames = received.partition(b"\r\n\r\n")
            received = frames if end else head
        while len(received) > 10 and not received.startswith(b"HTTP"):
            size, start = received[1], 2
            if size >= 126:
                start = 4 if size == 126 else 10
                size = int.from_bytes(received[2:start], "big")
            if len(received) < start + size:
                break
            if received[0] & 0xF == CLOSE:
                self.ending = received[start : start + size]
            received = received[start + size :]
        return received

    def wait(self) -> tuple[int, str]:
        """Wait for the close frame; return its code and reason."""
        self.thread.join()
        assert self.ending is not None
        return int.from_bytes(self.ending[:2], "big"), self.ending[2:].decode()


def counts(server: Server) -> dict[tuple[str, str], float]:
    """Return the metric of connections over their rate, by setting and action."""
    text = urlopen(f"http://localhost:{server.metrics_port}/metrics", timeout=TIMEOUT).read().decode()
    name = r'^wss_connections_over_rate_total\{action="(.*)",setting="(.*)"\} (.*)$'
    return {(setting, action): float(count) for action, setting, count in re.findall(name, text, re.MULTILINE)}


@pytest.mark.parametrize("is_tls", [False, True], ids=["ws", "wss"])
def test_a_flood_is_slowed_and_closed_and_its_neighbour_notices_nothing(
    start: Start, clients: ExitStack, tls_dir: Path, client_context: ssl.SSLContext, is_tls: bool
) -> None:
    server = start(APP="apps.echo:handler", **LIMITS, **({"TLS_DIR": str(tls_dir)} if is_tls else {}))
    context = client_context if is_tls else None
    url = f"{'wss' if is_tls else 'ws'}://localhost:{server.port}/wss"
    neighbour = clients.enter_context(connect(url, ssl=context, proxy=None, open_timeout=60))
    floods = {name: Flood(server.port, context, frames) for name, (_, frames) in FLOODS.items()}
    for flood in floods.values():
        clients.callback(flood.thread.join)
    slowest, began = 0.0, time.monotonic()
    while running := [flood for flood in floods.values() if flood.ending is None]:
        sent = time.monotonic()
        neighbour.send("tom")
        assert neighbour.recv(timeout=TIMEOUT) == "tom"
        slowest = max(slowest, time.monotonic() - sent)
        assert time.monotonic() < began + TIMEOUT
        running[0].thread.join(0.1)
    print(f"the neighbour waited {slowest:.3f} s at most; all are closed after {time.monotonic() - began:.1f} s")
    for name, (setting, _) in FLOODS.items():
        assert floods[name].wait() == (1008, f"more than {setting}"), name
    for _ in floods:
        line = json.loads(server.wait_for(r'(\{"event": "closed".*)'))
        print(line)
        assert line["code"] == 1008
        # A pause is over every half second, and one read is 4 KiB: up to 585 messages of 7 bytes.
        assert line["messages_in"] <= BURST * MESSAGES + 2 * 600 * (line["seconds"] + 1)
        assert line["bytes_in"] <= (BURST + line["seconds"] + 2) * BYTES
    one_each = {(setting, action): 2 for setting in ("MESSAGE_RATE", "BYTE_RATE") for action in ("slowed", "closed")}
    eventually(lambda: counts(server) == one_each, "the counts")


def test_a_burst_is_within_the_rate_and_a_longer_one_is_slowed_but_complete(share: Start, clients: ExitStack) -> None:
    server = share(APP="apps.echo:handler", **LIMITS)
    for number, slowed in ((int(BURST) * MESSAGES, None), (int(BURST + 1) * MESSAGES, 1)):
        client = clients.enter_context(connect(f"ws://localhost:{server.port}/wss", proxy=None, open_timeout=60))
        for each in range(number):
            client.send(str(each))
        assert [client.recv(timeout=TIMEOUT) for _ in range(number)] == [str(each) for each in range(number)]
        eventually(lambda: counts(server).get(("MESSAGE_RATE", "slowed")) == slowed, "the count")  # noqa: B023
        client.close()


def test_no_message_is_lost_if_the_queue_is_full_in_a_pause(start: Start, clients: ExitStack, tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(
        "import asyncio\n\nasync def handler(connection):\n"
        "    await asyncio.sleep(1)\n"
        "    async for message in connection:\n"
        "        await connection.send(str(len(message)))\n"
    )
    server = start(APP="late:handler", PYTHONPATH=f"{BACKEND}{os.pathsep}{tmp_path}", **LIMITS)
    sizes = [LARGE] * 12 + [1] * 100  # of which the queue takes 2, and the rate 10 at once
    client = clients.enter_context(connect(f"ws://localhost:{server.port}/wss", proxy=None, open_timeout=60))
    for size in sizes:
        client.send(bytes(size))
    assert [int(client.recv(timeout=TIMEOUT)) for _ in sizes] == sizes
    assert counts(server) == {("BYTE_RATE", "slowed"): 1}
