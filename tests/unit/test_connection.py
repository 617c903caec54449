"""An open websocket, and clients that violate the protocol, never read, or never answer (rows 9, 10, 12 and 13)."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, code, connect, frame
from server import TIMEOUT, Server, Start
from time_limit import slowness


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
        pytest.param([frame(TEXT, b"\xff\xfe")], 1007, id="text that is not valid UTF-8"),
        pytest.param(
            [frame(TEXT, b"\xc3", fin=False), frame(CONTINUATION, b"x")], 1007, id="not valid UTF-8 across fragments"
        ),
        pytest.param([frame(TEXT, b"\xff", fin=False)], 1007, id="not valid UTF-8 in a first fragment"),
        pytest.param([frame(CONTINUATION, b"a")], 1002, id="continuation without a message"),
        pytest.param([frame(TEXT, b"a", fin=False), frame(TEXT, b"b")], 1002, id="a message within a message"),
        pytest.param([frame(PING, b"a" * 126)], 1002, id="ping of 126 bytes"),
        pytest.param([frame(PING, fin=False)], 1002, id="ping in fragments"),
        pytest.param([frame(CLOSE, b"x")], 1002, id="close with one byte of a code"),
        pytest.param([frame(CLOSE, code(1000, b"\xff"))], 1007, id="close with a reason that is not valid UTF-8"),
        *(
            pytest.param([frame(CLOSE, code(number))], 1002, id=f"close code {number}")
            for number in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
        ),
        # Not violations: answered with the same code.
        *(
            pytest.param([frame(CLOSE, code(number))], number, id=f"close code {number}")
            for number in (1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999)
        ),
        pytest.param([frame(CLOSE)], None, id="close without code"),
        # RFC 6455 section 7.4.1.
        pytest.param([frame(BINARY, bytes(65537))], 1009, id="frame over the limit"),
        pytest.param(
            [frame(BINARY, bytes(40000), fin=False), frame(CONTINUATION, bytes(40000))],
            1009,
            id="message over the limit",
        ),
        pytest.param(
            [frame(TEXT, fin=False), *[frame(CONTINUATION, fin=False)] * 10], 1009, id="more fragments than allowed"
        ),
    ],
)
def test_a_violation_closes_only_that_connection(
    one_server: Server, clients: ExitStack, frames: list[bytes], close_code: int | None
) -> None:
    other, violator = connect(one_server, clients), connect(one_server, clients)
    violator.send(*frames)
    assert violator.close_code(answer=False) == close_code
    other.send(frame(TEXT, b"tom"))
    assert other.receive() == (TEXT, b"tom")


@pytest.mark.parametrize(
    ("violation", "close_code"),
    [(frame(TEXT, b"a", rsv=4), 1002), (frame(TEXT, b"\xff"), 1007), (frame(CONTINUATION, b"a"), 1002)],
)
def test_a_message_before_a_violation_is_answered_before_the_close(
    one_server: Server, clients: ExitStack, violation: bytes, close_code: int
) -> None:
    client = connect(one_server, clients)
    client.send(frame(TEXT, b"tom"), violation)
    assert client.receive() == (TEXT, b"tom")
    assert client.close_code(answer=False) == close_code


def test_fragments_up_to_the_limit_are_one_message(one_server: Server, clients: ExitStack) -> None:
    client = connect(one_server, clients)
    for _ in range(3):  # the count restarts with each message
        client.send(
            frame(TEXT, b"t", fin=False), *[frame(CONTINUATION, b"o", fin=False)] * 9, frame(CONTINUATION, b"m")
        )
        assert client.receive() == (TEXT, b"tooooooooom")


def test_every_ping_of_a_client_that_reads_is_answered(one_server: Server, clients: ExitStack) -> None:
    client = connect(one_server, clients)
    client.send(*(frame(PING, bytes([number])) for number in range(100)))
    assert [client.receive() for _ in range(100)] == [(PONG, bytes([number])) for number in range(100)]


def flood_until_closed(connection: socket.socket, flood: bytes) -> None:
    connection.settimeout(0.2)
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        with suppress(TimeoutError):  # the server has stopped reading, too
            connection.send(flood)


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(frame(PING, bytes(125)) * 500, id="pings"),
        pytest.param(frame(BINARY, bytes(60000)), id="messages to be echoed"),
    ],
)
def test_a_client_that_never_reads_is_closed_and_memory_is_bounded(
    share: Start, clients: ExitStack, flood: bytes
) -> None:
    server = share(APP="apps.echo:handler", SLOW_READER_TIMEOUT="1")
    other, slow_reader = connect(server, clients), connect(server, clients)
    before = server.worker_memory()
    with pytest.raises(ConnectionError):
        flood_until_closed(slow_reader.socket, flood)
    assert server.worker_memory() - before < 32 * 1024 * 1024
    server.wait_for("(stopped reading)")
    other.send(frame(TEXT, b"tom"))
    assert other.receive() == (TEXT, b"tom")


def test_a_client_that_answers_pings_stays_connected_and_a_dead_one_is_closed(start: Start, clients: ExitStack) -> None:
    ping = 0.3 * slowness()  # so that this process can answer in time
    server = start(APP="apps.echo:handler", PING_INTERVAL=f"{ping:.2f}", PING_TIMEOUT=f"{ping:.2f}")
    started = time.monotonic()
    dead, alive, talking = (connect(server, clients) for _ in range(3))
    for _ in range(4):
        opcode, payload = alive.receive()
        assert opcode == PING
        alive.send(frame(PONG, payload))
        talking.send(frame(TEXT, b"tom"))  # data counts like a pong
        while talking.receive() != (TEXT, b"tom"):
            pass
    assert time.monotonic() - started > 3.7 * ping
    # Not before PING_TIMEOUT, and before a second ping.
    assert dead.receive()[0] == PING
    assert dead.close_code(answer=False) == 1011
    assert float(server.wait_for(r'"seconds": ([\d.]+), ')) > 1.8 * ping


def test_a_client_is_not_closed_because_the_server_was_suspended(start: Start, clients: ExitStack) -> None:
    server = start(APP="apps.echo:handler", PING_INTERVAL="0.2", PING_TIMEOUT="1")
    client = connect(server, clients)
    for _ in range(2):
        opcode, payload = client.receive()
        assert opcode == PING
        os.kill(server.worker(), signal.SIGSTOP)
        client.send(frame(PONG, payload))
        time.sleep(1.5)  # suspended for longer than PING_TIMEOUT
        os.kill(server.worker(), signal.SIGCONT)
    client.send(frame(TEXT, b"tom"))
    while (received := client.receive())[0] == PING:
        client.send(frame(PONG, received[1]))
    assert received == (TEXT, b"tom")


def test_a_client_is_not_closed_because_its_handler_is_slow(start: Start, clients: ExitStack, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    (tmp_path / "slow.py").write_text(
        "import asyncio, pathlib\n"
        "async def handler(connection):\n"
        f"    await asyncio.to_thread(pathlib.Path({str(gate)!r}).read_bytes)\n"  # blocks until the test writes
        "    async for message in connection:\n"
        "        await connection.send(message)\n"
    )
    ping = f"{0.2 * slowness():.2f}"
    server = start(APP="slow:handler", PYTHONPATH=str(tmp_path), PING_INTERVAL=ping, PING_TIMEOUT=ping)
    client = connect(server, clients)
    messages = [(TEXT, str(number).encode()) for number in range(30)]
    client.send(*(frame(*message) for message in messages))
    for _ in range(3):  # the first pong was due long before the third ping
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


@pytest.fixture(scope="module")
def one_server() -> Iterator[Server]:
    server = Server(APP="apps.echo:handler", MAX_MESSAGE="64K", MAX_FRAGMENTS="10")
    yield server
    assert server.stop() == 0
    server.process.communicate()
