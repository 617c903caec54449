"""The open websocket against clients that break the protocol, or that take and never give (rows 9, 10 and 13)."""

import os
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from server import Server, Start

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA
HANDSHAKE = (
    b"GET /wss HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TIMEOUT = 10.0


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """Return a client's frame (RFC 6455 section 5.2), as wrong as it is asked for."""
    size = len(payload)
    if size < 126:
        length = bytes([size])
    elif size < 65536:
        length = b"\x7e" + struct.pack(">H", size)
    else:
        length = b"\x7f" + struct.pack(">Q", size)
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if not masked:
        return head + length + payload
    # A mask of zeros leaves the payload as it is.
    return head + bytes([length[0] | 0x80]) + length[1:] + bytes(4) + payload


class Client:
    """A websocket opened by hand, to send what no library would."""

    def __init__(self, server: Server, extra: bytes = b"") -> None:
        self.socket = socket.create_connection(("localhost", server.port), TIMEOUT)
        self.socket.sendall(HANDSHAKE.removesuffix(b"\r\n") + extra + b"\r\n")
        self.stream = self.socket.makefile("rb")
        while self.stream.readline() != b"\r\n":
            pass

    def send(self, *frames: bytes) -> None:
        self.socket.sendall(b"".join(frames))

    def receive(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame; a close code stands at the start of the payload."""
        opcode, size = self.stream.read(2)
        if size == 126:
            (size,) = struct.unpack(">H", self.stream.read(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", self.stream.read(8))
        return opcode & 0xF, self.stream.read(size)

    def close_code(self) -> int | None:
        opcode, payload = self.receive()
        assert opcode == CLOSE
        assert self.stream.read() == b"", "the server hangs up after its close frame"
        return int.from_bytes(payload[:2], "big") if payload else None


@pytest.fixture
def clients() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def connect(server: Server, clients: ExitStack, extra: bytes = b"") -> Client:
    client = Client(server, extra)
    clients.callback(client.socket.close)
    clients.callback(client.stream.close)
    return client


def code(number: int, reason: bytes = b"") -> bytes:
    return number.to_bytes(2, "big") + reason


@pytest.mark.parametrize(
    ("frames", "close_code"),
    [
        pytest.param([frame(TEXT, b"a", masked=False)], 1002, id="unmasked"),
        pytest.param([frame(0x3)], 1002, id="opcode 3"),
        pytest.param([frame(0xB)], 1002, id="opcode 11"),
        *(
            pytest.param([frame(TEXT, b"a", rsv=bits)], 1002, id=f"text with reserved bits {bits}")
            for bits in range(1, 8)
        ),
        *(pytest.param([frame(PING, rsv=bits)], 1002, id=f"ping with reserved bits {bits}") for bits in range(1, 8)),
        pytest.param([frame(TEXT, b"\xff\xfe")], 1007, id="text that is no UTF-8"),
        pytest.param([frame(TEXT, b"\xc3", fin=False), frame(CONTINUATION, b"x")], 1007, id="the same over fragments"),
        pytest.param([frame(CONTINUATION, b"a")], 1002, id="continuation of nothing"),
        pytest.param([frame(TEXT, b"a", fin=False), frame(TEXT, b"b")], 1002, id="a message within a message"),
        pytest.param([frame(PING, b"a" * 126)], 1002, id="ping of 126 bytes"),
        pytest.param([frame(PING, fin=False)], 1002, id="ping in fragments"),
        pytest.param([frame(CLOSE, b"x")], 1002, id="close with half a code"),
        pytest.param([frame(CLOSE, code(1000, b"\xff"))], 1007, id="close with a reason that is no UTF-8"),
        *(
            pytest.param([frame(CLOSE, code(number))], 1002, id=f"close code {number}")
            for number in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
        ),
        # Not violations: answered in kind.
        *(
            pytest.param([frame(CLOSE, code(number))], number, id=f"close code {number}")
            for number in (1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999)
        ),
        pytest.param([frame(CLOSE)], None, id="close without code"),
        # RFC 6455 section 7.4.1.
        pytest.param([frame(BINARY, bytes(65537))], 1009, id="a frame over the limit"),
        pytest.param([frame(BINARY, bytes(40000), fin=False), frame(CONTINUATION, bytes(40000))], 1009, id="a message"),
        pytest.param(
            [frame(TEXT, fin=False), *[frame(CONTINUATION, fin=False)] * 10], 1009, id="more fragments than allowed"
        ),
    ],
)
def test_what_breaks_the_protocol_ends_that_connection_alone(
    one_server: Server, clients: ExitStack, frames: list[bytes], close_code: int | None
) -> None:
    bystander, breaker = connect(one_server, clients), connect(one_server, clients)
    breaker.send(*frames)
    assert breaker.close_code() == close_code
    bystander.send(frame(TEXT, b"tom"))
    assert bystander.receive() == (TEXT, b"tom")


def test_fragments_up_to_the_limit_are_one_message(one_server: Server, clients: ExitStack) -> None:
    client = connect(one_server, clients)
    for _ in range(3):  # the count starts anew with each message
        client.send(
            frame(TEXT, b"t", fin=False), *[frame(CONTINUATION, b"o", fin=False)] * 9, frame(CONTINUATION, b"m")
        )
        assert client.receive() == (TEXT, b"tooooooooom")


def test_every_ping_of_a_client_that_reads_is_answered(one_server: Server, clients: ExitStack) -> None:
    client = connect(one_server, clients)
    client.send(*(frame(PING, bytes([number])) for number in range(100)))
    assert [client.receive() for _ in range(100)] == [(PONG, bytes([number])) for number in range(100)]


def flood_until_cut(connection: socket.socket, flood: bytes) -> None:
    connection.settimeout(0.2)
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        with suppress(TimeoutError):  # it does not read us either: wait for the cut
            connection.send(flood)


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(frame(PING, bytes(125)) * 500, id="pings"),
        pytest.param(frame(BINARY, bytes(60000)), id="messages to be echoed"),
    ],
)
def test_a_client_that_never_reads_is_cut_and_claims_no_memory(start: Start, clients: ExitStack, flood: bytes) -> None:
    server = start(APP="apps.echo:handler", SLOW_READER_TIMEOUT="1")
    bystander, glutton = connect(server, clients), connect(server, clients)
    before = server.worker_memory()
    with pytest.raises(ConnectionError):
        flood_until_cut(glutton.socket, flood)
    assert server.worker_memory() - before < 32 * 1024 * 1024
    server.wait_for("(stopped reading)")
    bystander.send(frame(TEXT, b"tom"))
    assert bystander.receive() == (TEXT, b"tom")


def test_a_client_that_answers_pings_stays_and_a_silent_one_goes(start: Start, clients: ExitStack) -> None:
    server = start(APP="apps.echo:handler", PING_INTERVAL="0.3", PING_TIMEOUT="0.3")
    dead, alive, talking = (connect(server, clients) for _ in range(3))
    started = time.monotonic()
    for _ in range(4):
        opcode, payload = alive.receive()
        assert opcode == PING
        alive.send(frame(PONG, payload))
        talking.send(frame(TEXT, b"tom"))  # a sign of life as good as a pong
        while talking.receive() != (TEXT, b"tom"):
            pass
    assert time.monotonic() - started > 1.1
    assert dead.receive()[0] == PING
    assert dead.close_code() == 1011
    server.wait_for(r"(\"seconds\": 0\.6\d*, )")


def test_a_client_is_not_given_up_because_its_handler_is_slow(start: Start, clients: ExitStack, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    (tmp_path / "slow.py").write_text(
        "import asyncio, pathlib\n"
        "async def handler(connection):\n"
        f"    await asyncio.to_thread(pathlib.Path({str(gate)!r}).read_bytes)\n"  # until it is opened below
        "    async for message in connection:\n"
        "        await connection.send(message)\n"
    )
    server = start(APP="slow:handler", PYTHONPATH=str(tmp_path), PING_INTERVAL="0.2", PING_TIMEOUT="0.2")
    client = connect(server, clients)
    messages = [(TEXT, str(number).encode()) for number in range(30)]
    client.send(*(frame(*message) for message in messages))
    for _ in range(3):  # the answer to the first was due long before the third
        opcode, payload = client.receive()
        assert opcode == PING
        client.send(frame(PONG, payload))
    gate.write_bytes(b"")
    received: list[tuple[int, bytes]] = []
    while len(received) < len(messages):
        opcode, payload = client.receive()
        if opcode == PING:
            client.send(frame(PONG, payload))
        else:
            received.append((opcode, payload))
    assert received == messages


DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
COMPRESSED = 4  # RSV1


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([frame(BINARY, deflated(bytes(65537)), rsv=COMPRESSED)], id="a message over the limit"),
        pytest.param(
            [
                frame(BINARY, deflated(bytes(65536)) + b"\0\0\xff\xff", fin=False, rsv=COMPRESSED),
                frame(CONTINUATION, deflated(bytes(10_000_000))),
            ],
            id="the rest of one that is as large as may be",
        ),
        pytest.param([frame(BINARY, deflated(bytes(65536)), rsv=COMPRESSED)] * 100, id="many that are as large"),
    ],
)
def test_what_inflates_too_much_is_refused(start: Start, clients: ExitStack, frames: list[bytes]) -> None:
    server = start(COMPRESSION="on", MAX_MESSAGE="64K")
    client = connect(server, clients, DEFLATE)
    before = server.worker_memory()
    client.send(*frames)
    while (received := client.receive())[0] != CLOSE:
        pass
    assert received[1][:2] == code(1009)
    assert server.worker_memory() - before < 8 * 1024 * 1024


def test_as_large_as_may_be_is_taken_compressed_too(start: Start, clients: ExitStack) -> None:
    server = start(APP="apps.echo:handler", COMPRESSION="on", MAX_MESSAGE="64K")
    client = connect(server, clients, DEFLATE)
    for _ in range(3):
        client.send(frame(BINARY, deflated(bytes(65536)), rsv=COMPRESSED))
        opcode, payload = client.receive()
        assert opcode == BINARY
        assert len(payload) < 200


def test_a_stop_reaches_a_client_that_is_behind(start: Start, clients: ExitStack, tmp_path: Path) -> None:
    (tmp_path / "pushing.py").write_text(
        "async def handler(connection):\n    async for _ in connection:\n"
        "        await connection.send(bytes(8_000_000))\n"
    )
    server = start(APP="pushing:handler", PYTHONPATH=str(tmp_path))
    client = connect(server, clients)
    client.send(frame(TEXT, b"go"))
    assert client.stream.peek(1)
    server.process.terminate()
    server.wait_for("(stopping: closing 1 connections)")
    assert client.receive() == (BINARY, bytes(8_000_000))
    assert client.close_code() == 1001


BROADCASTER = """
import asyncio
from wss import broadcast
async def handler(connection):
    async def fragments():
        yield "a"
        broadcast([connection], "first")
        broadcast([connection], "second")
        yield "b"
    async for _ in connection:
        await connection.send(fragments())
"""


@pytest.mark.parametrize("compression", ["off", "on"])
def test_a_broadcast_waits_for_the_end_of_a_message_in_fragments(
    start: Start, clients: ExitStack, tmp_path: Path, compression: str
) -> None:
    (tmp_path / "broadcaster.py").write_text(BROADCASTER)
    server = start(APP="broadcaster:handler", PYTHONPATH=str(tmp_path), COMPRESSION=compression)
    client = connect(server, clients)
    client.send(frame(TEXT, b"go"))
    received = [client.receive() for _ in range(5)]
    assert received == [(TEXT, b"a"), (CONTINUATION, b"b"), (CONTINUATION, b""), (TEXT, b"first"), (TEXT, b"second")]


PUSHER = """
import asyncio
from wss import broadcast
async def push(connection):
    broadcast([connection], "not lost")
async def handler(connection):
    async for _ in connection:
        async with asyncio.TaskGroup() as both:
            # Far more than the client's socket takes: this one waits, and the broadcast, which comes next, does not.
            both.create_task(connection.send(bytes(3_000_000)))
            both.create_task(push(connection))
"""


def test_a_broadcast_to_a_slow_reader_is_not_lost(start: Start, clients: ExitStack, tmp_path: Path) -> None:
    (tmp_path / "pusher.py").write_text(PUSHER)
    server = start(APP="pusher:handler", PYTHONPATH=str(tmp_path))
    client = connect(server, clients)
    client.send(frame(TEXT, b"go"))
    assert client.receive() == (BINARY, bytes(3_000_000))
    assert client.receive() == (TEXT, b"not lost")


@pytest.fixture(scope="module")
def one_server() -> Iterator[Server]:
    server = Server(APP="apps.echo:handler", MAX_MESSAGE="64K", MAX_FRAGMENTS="10")
    yield server
    assert server.stop() == 0
    server.process.communicate()
