"""The connection's API for handlers, like that of websockets.asyncio.server.ServerConnection."""

import os
from contextlib import ExitStack
from pathlib import Path

import pytest
from raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Client, code, connect, frame
from server import Start

Received = list[tuple[int, bytes]]


@pytest.fixture(scope="module")
def handlers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of these tests' handlers."""
    return tmp_path_factory.mktemp("handlers")


@pytest.fixture
def run(share: Start, clients: ExitStack, handlers: Path) -> "Run":
    return Run(share, clients, handlers)


class Run:
    """Connects to a handler, given as the body of a coroutine, on a server that these tests share."""

    def __init__(self, share: Start, clients: ExitStack, directory: Path) -> None:
        self.server = share(APP="dispatch:handler", PYTHONPATH=f"{directory}{os.pathsep}{Path(__file__).parent}")
        self._clients, self._directory = clients, directory

    def __call__(self, *body: str) -> Client:
        lines = "\n".join(f"    {line}" for line in body)
        module = f"handler_{len(list(self._directory.glob('*.py')))}"
        (self._directory / f"{module}.py").write_text(f"import asyncio\n\nasync def handler(connection):\n{lines}\n")
        self._query = f"?{module}"
        return self.connect()

    def connect(self) -> Client:
        """Connect to the same handler again."""
        return connect(self.server, self._clients, query=self._query)


@pytest.mark.parametrize(
    ("sent", "decode", "type_"),
    [
        (TEXT, None, "str"),
        (TEXT, True, "str"),
        (TEXT, False, "bytes"),
        (BINARY, None, "bytes"),
        (BINARY, True, "str"),
        (BINARY, False, "bytes"),
    ],
)
def test_recv_returns_str_or_bytes_as_requested(run: Run, sent: int, decode: bool | None, type_: str) -> None:
    client = run(f"message = await connection.recv({decode})", "await connection.send(type(message).__name__)")
    client.send(frame(sent, "é".encode()))
    assert client.receive() == (TEXT, type_.encode())


def test_decoding_bytes_that_are_not_valid_utf_8_closes_with_1007(run: Run) -> None:
    client = run("await connection.recv(decode=True)")
    client.send(frame(BINARY, b"\xff"))
    assert client.close_code(answer=False) == 1007


def test_a_message_can_be_read_while_it_arrives(run: Run) -> None:
    client = run("async for fragment in connection.recv_streaming():", "    await connection.send(fragment)")
    for kind, part, fin in ((TEXT, "é".encode()[:1], False), (CONTINUATION, "é".encode()[1:], False)):
        client.send(frame(kind, part, fin=fin))
    assert [client.receive() for _ in range(2)] == [(TEXT, b""), (TEXT, "é".encode())]
    client.send(frame(CONTINUATION, b"!"))
    assert client.receive() == (TEXT, b"!")
    assert client.close_code() == 1000


def test_only_one_task_can_wait_for_a_message(run: Run) -> None:
    client = run(
        "first = asyncio.create_task(connection.recv())",
        "await asyncio.sleep(0)",
        "try:",
        "    await connection.recv()",
        "except RuntimeError as error:",
        "    await connection.send(str(error))",
        "await connection.send(await first)",
    )
    assert client.receive() == (
        TEXT,
        b"cannot call recv while another coroutine is already running recv or recv_streaming",
    )
    client.send(frame(TEXT, b"tom"))
    assert client.receive() == (TEXT, b"tom")


def test_a_cancelled_recv_loses_no_message(run: Run) -> None:
    client = run(
        "async def give_up():",
        "    waiting = asyncio.create_task(connection.recv())",
        "    await asyncio.sleep(0)",
        "    waiting.cancel()",
        "    await asyncio.wait([waiting])",
        "    return waiting.cancelled()",
        "await connection.send(str(await give_up()))",
        "await connection.send(await connection.recv())",  # the first fragment has arrived
        "await connection.send(await connection.recv())",
    )
    assert client.receive() == (TEXT, b"True")
    client.send(frame(TEXT, b"a", fin=False), frame(CONTINUATION, b"b"), frame(TEXT, b"c"))
    assert [client.receive() for _ in range(2)] == [(TEXT, b"ab"), (TEXT, b"c")]


@pytest.mark.parametrize(
    ("argument", "received"),
    [
        ("'a'", [(TEXT, b"a")]),
        ("'a', False", [(BINARY, b"a")]),
        ("b'a'", [(BINARY, b"a")]),
        ("b'a', True", [(TEXT, b"a")]),
        ("memoryview(b'abc')[1:]", [(BINARY, b"bc")]),
        ("'é' * 70", [(TEXT, "é".encode() * 70)]),
        ("bytes(1024)", [(BINARY, bytes(1024))]),
        ("bytes(65536)", [(BINARY, bytes(65536))]),
        ("bytes(100000)", [(BINARY, bytes(100000))]),
        ("['a', 'b']", [(TEXT, b"a"), (CONTINUATION, b"b"), (CONTINUATION, b"")]),
        ("[b'a']", [(BINARY, b"a"), (CONTINUATION, b"")]),
        ("[]", []),
    ],
)
def test_valid_arguments_of_send(run: Run, argument: str, received: Received) -> None:
    client = run(f"await connection.send({argument})")
    assert [client.receive() for _ in received] == received
    assert client.close_code() == 1000


@pytest.mark.parametrize(
    ("argument", "close_code"),
    [("{}", 1000), ("1", 1000), ("[1]", 1000), ("['a', b'b']", 1011)],
)
def test_invalid_arguments_of_send(run: Run, argument: str, close_code: int) -> None:
    client = run("try:", f"    await connection.send({argument})", "except TypeError:", "    pass")
    while (received := client.receive())[0] != CLOSE:
        pass
    assert received[1][:2] == close_code.to_bytes(2, "big")


@pytest.mark.parametrize(
    "call",
    ["close(1005)", "close(99)", "close(1000, 'é' * 62)", "ping(bytes(126))", "ping('é' * 63)", "pong(bytes(126))"],
)
def test_a_payload_that_no_frame_can_carry_raises_value_error(run: Run, call: str) -> None:
    client = run("try:", f"    await connection.{call}", "except ValueError:", "    await connection.send('no')")
    assert client.receive() == (TEXT, b"no")
    assert client.close_code() == 1000


@pytest.mark.parametrize(
    "call",
    ["send([1])", "send([b'a', 1])", "ping(5)", "pong([1])", "push(PreparedMessage(5))", "push(PreparedMessage([1]))"],
)
def test_numbers_raise_type_error(run: Run, call: str) -> None:
    client = run(
        "from wss.protocol.frames import PreparedMessage",
        "try:",
        f"    await connection.{call}",
        "except TypeError as error:",
        "    assert 'text or bytes, not' in str(error), error",
        "    raise",
    )
    while (received := client.receive())[0] != CLOSE:
        assert received == (BINARY, b"a"), "only the first fragment of an incomplete message may arrive"
    assert received[1][:2] == code(1011)


def test_a_handler_that_exits_closes_only_its_own_connection(run: Run) -> None:
    client = run("if await connection.recv() == 'exit':", "    raise SystemExit(1)", "await connection.send('tom')")
    other = run.connect()
    client.send(frame(TEXT, b"exit"))
    assert client.close_code() == 1011
    other.send(frame(TEXT, b"go on"))
    assert other.receive() == (TEXT, b"tom")


def test_an_unanswered_close_returns_after_the_close_timeout(run: Run) -> None:
    client = run(
        "started = asyncio.get_running_loop().time()",
        "await connection.close()",
        "print('took', asyncio.get_running_loop().time() - started, file=__import__('sys').stderr)",
    )
    assert client.close_code(answer=False) == 1000
    assert float(run.server.wait_for("took (.*)")) >= 5


def test_no_data_follows_the_close_frame(run: Run) -> None:
    client = run(
        "async def parts():",
        "    yield 'one'",
        "    closing = asyncio.create_task(connection.close(3000))",
        "    await asyncio.sleep(0)",
        "    yield 'two'",
        "await connection.send(parts())",
    )
    assert client.receive() == (TEXT, b"one")
    assert client.receive() == (CLOSE, code(3000))
    client.send(frame(CLOSE, code(3000)))
    assert client.stream.read() == b""


def test_a_message_sent_before_a_failure_arrives(run: Run) -> None:
    client = run("await connection.recv()", "await connection.send('kept')", "await connection.recv(decode=True)")
    client.send(frame(TEXT, b"tom"), frame(BINARY, b"\xff"))
    assert client.receive() == (TEXT, b"kept")
    assert client.close_code(answer=False) == 1007


def test_the_close_handshake_completes_even_if_the_message_queue_is_full(run: Run) -> None:
    client = run("while connection.is_read:", "    await asyncio.sleep(0)")
    client.send(*[frame(TEXT, b"tom")] * 2000)
    assert client.receive() == (CLOSE, code(1000))
    client.send(frame(TEXT, b"late"), frame(CLOSE, code(1000)))
    assert client.stream.read() == b"", "no orderly close, but a reset after CLOSE_TIMEOUT"


def test_no_large_message_is_lost_while_the_handler_is_busy(run: Run) -> None:
    client = run(
        "while connection.is_read:",
        "    await asyncio.sleep(0)",
        "async for message in connection:",
        "    await connection.send(str(len(message)))",
    )
    client.send(*[frame(BINARY, bytes(100_000))] * 3)
    assert [client.receive() for _ in range(3)] == [(TEXT, b"100000")] * 3


@pytest.mark.parametrize("cancelled", ["asyncio.create_task(asyncio.Event().wait())", "asyncio.current_task()"])
def test_a_cancelled_handler_closes_with_1011(run: Run, cancelled: str) -> None:
    client = run(f"task = {cancelled}", "task.cancel()", "await asyncio.wait_for(asyncio.shield(task), 10)")
    assert client.close_code() == 1011


def test_a_pong_also_answers_earlier_pings(run: Run) -> None:
    client = run(
        "for pong in [await connection.ping(data) for data in 'ab']:", "    await pong", "await connection.send('both')"
    )
    assert [client.receive() for _ in range(2)] == [(PING, b"a"), (PING, b"b")]
    client.send(frame(PONG, b"b"))
    assert client.receive() == (TEXT, b"both")


def test_a_handler_can_run_another_server(run: Run) -> None:
    client = run(
        "async def greet(reader, writer):",
        "    writer.write(b'hello')",
        "    writer.close()",
        "async with await asyncio.start_server(greet, '127.0.0.1', 0) as server:",
        "    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())",
        "    await connection.send((await reader.read()).decode())",
        "    writer.close()",
    )
    assert client.receive() == (TEXT, b"hello")


def test_a_handler_can_ping(run: Run) -> None:
    client = run(
        "pong = await connection.ping('now')", "await connection.send(str(0 < await pong == connection.latency))"
    )
    assert client.receive() == (PING, b"now")
    client.send(frame(PONG, b"now"))
    assert client.receive() == (TEXT, b"True")


def test_a_handler_can_pong(run: Run) -> None:
    assert run("await connection.pong('here')").receive() == (PONG, b"here")


def test_the_connection_has_its_state_and_close_code(run: Run) -> None:
    client = run(
        "assert connection.id and connection.local_address != connection.remote_address",
        "before = connection.state.name, connection.close_code, connection.subprotocol, connection.path",
        "async for _ in connection:",
        "    pass",
        "after = connection.state.name, connection.close_code, connection.close_reason",
        "print(*before, *after, file=__import__('sys').stderr)",
    )
    client.send(frame(CLOSE, (1000).to_bytes(2, "big") + b"bye"))
    assert client.close_code(answer=False) == 1000
    assert run.server.wait_for(r"^(OPEN .*)") == "OPEN None None /wss CLOSED 1000 bye"


def test_send_after_the_connection_closed_raises(run: Run) -> None:
    client = run(
        "await connection.wait_closed()",
        "try:",
        "    await connection.send('tom')",
        "except Exception as error:",
        "    print(type(error).__name__, error, file=__import__('sys').stderr)",
    )
    client.socket.close()
    client.stream.close()
    assert run.server.wait_for("^(ConnectionClosed.*)") == "ConnectionClosedError no close frame received or sent"


def test_replies_to_messages_of_one_read_are_written_together(run: Run) -> None:
    client = run("async for message in connection:", "    await connection.send(message)")
    messages = [str(number).encode() for number in range(15)]
    client.send(*(frame(TEXT, message) for message in messages))
    assert client.socket.recv(65536) == b"".join(bytes([0x80 | TEXT, len(message)]) + message for message in messages)


def test_a_close_frame_follows_earlier_messages(run: Run) -> None:
    client = run(
        "async for message in connection:",
        "    await connection.send(message)",
        "    if message == '2':",
        "        return",
    )
    client.send(*(frame(TEXT, str(number).encode()) for number in range(5)))
    assert [client.receive() for _ in range(3)] == [(TEXT, b"0"), (TEXT, b"1"), (TEXT, b"2")]
    assert client.close_code() == 1000
