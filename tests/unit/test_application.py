"""What a handler's module may have beside it: process_request, lifespan; and a router in its place."""

import asyncio
import logging
import socket
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from apps.echo import handler as echo
from eventually import eventually
from raw import HANDSHAKE, TEXT, frame
from server import BACKEND, failed_start
from websockets.asyncio.server import basic_auth
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request, Response
from wss import Connection, Router
from wss.application import Application
from wss.config.environment import SettingError
from wss.config.settings import read_settings
from wss.process import worker
from wss.testing import TestServer, serve


def refused(server: TestServer, path: str = "/wss", **options: Any) -> Response:
    with pytest.raises(InvalidStatus) as refusal, server.connect(path, **options):
        pass
    return refusal.value.response


def echoes(server: TestServer, path: str = "/wss", **options: Any) -> None:
    with server.connect(path, **options) as client:
        client.send("tom")
        assert client.recv(timeout=60) == "tom"


async def _token(connection: Connection, request: Request) -> Response | None:
    await asyncio.to_thread(str)  # as one asks a database
    return None if request.path.endswith("?token=secret") else connection.respond(HTTPStatus.UNAUTHORIZED, "Log in.")


def test_process_request_decides_before_the_websocket_opens() -> None:
    with serve(Application(echo, _token)) as server:
        echoes(server, "/wss?token=secret")
        response = refused(server)
        assert (response.status_code, response.body) == (401, b"Log in.")


@pytest.mark.parametrize(
    ("extra", "status"),
    [
        pytest.param(b"", 401, id="nothing"),
        # websockets refuses a line of more than 8 KB, and picows accepts it.
        pytest.param(b"Cookie: " + b"a" * 15_000 + b"\r\n", 401, id="a cookie of 15 KB"),
        pytest.param(b"Content-Length: 0\r\n", 401, id="an empty body"),
        pytest.param("X: J\u00fcrgen\r\n".encode(), 401, id="a value that is not ASCII"),
        pytest.param(b"".join(b"X-%d: 1\r\n" % number for number in range(90)), 401, id="95 headers"),
        pytest.param(b"".join(b"X-%d: 1\r\n" % number for number in range(200)), 431, id="205 headers"),
        pytest.param(b"Content-Length: 0\r\nContent-Length: 0\r\n", 400, id="two lengths"),
        pytest.param(b"Content-Length: 5\r\n", 400, id="a body"),
        pytest.param(b"Transfer-Encoding: chunked\r\n", 400, id="a body in chunks"),
        pytest.param(b"X: 1\r\n folded\r\n", 400, id="a folded line"),
        pytest.param(b"X : 1\r\n", 400, id="a space before the colon"),
        pytest.param(b"X(: 1\r\n", 400, id="a name that is no token"),
        pytest.param(b"X: \x01\r\n", 400, id="a control character"),
        pytest.param(b"X\r\n", 400, id="no colon"),
    ],
)
def test_no_request_gets_past_process_request(extra: bytes, status: int) -> None:
    with (
        serve(Application(echo, _token)) as server,
        socket.create_connection(("localhost", server.port), 60) as client,
    ):
        client.sendall(HANDSHAKE.removesuffix(b"\r\n") + extra + b"\r\n")
        assert client.recv(13) == f"HTTP/1.1 {status} ".encode()


def test_a_response_has_the_headers_of_the_application() -> None:
    def forbid(connection: Connection, _: Request) -> Response:
        response = connection.respond(403, "Elsewhere.")
        response.headers["Link"] = "https://elsewhere.example/"
        response.headers["Set-Cookie"] = "a=1"
        response.headers["Set-Cookie"] = "b=2"
        return response

    with serve(Application(echo, forbid)) as server:
        response = refused(server)
        assert (response.status_code, response.headers["Link"]) == (403, "https://elsewhere.example/")
        assert response.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
        assert response.headers.get_all("Content-Length") == ["10"]


def test_basic_auth_of_websockets() -> None:
    async def whoami(connection: Connection) -> None:
        await connection.send(connection.username)

    authenticate: Any = basic_auth(realm="chat", credentials=("ann", "secret"))
    with serve(Application(whoami, authenticate)) as server:
        response = refused(server)
        assert (response.status_code, response.headers["WWW-Authenticate"][:18]) == (401, 'Basic realm="chat"')
        credentials = {"Authorization": "Basic " + b64encode(b"ann:secret").decode()}
        with server.connect(additional_headers=credentials) as client:
            assert client.recv(timeout=60) == "ann"


async def _fails(_: Connection, __: Request) -> Response | None:
    raise LookupError("no database")


async def _times_out(_: Connection, __: Request) -> Response | None:
    async with asyncio.timeout(0.01):
        await asyncio.Event().wait()
    return None


async def _hangs(_: Connection, __: Request) -> Response | None:
    await asyncio.Event().wait()
    return None


def _returns_nonsense(_: Connection, __: Request) -> Any:
    return 401


@pytest.mark.parametrize(
    ("process_request", "status", "line"),
    [
        (_fails, 500, "no database"),
        (_times_out, 500, "process_request failed on /wss"),
        (_hangs, 503, "process_request took over 1 s on /wss"),
        (_returns_nonsense, 500, "process_request returned 401"),
    ],
)
def test_a_faulty_process_request_refuses_and_is_logged(
    caplog: pytest.LogCaptureFixture, process_request: Any, status: int, line: str
) -> None:
    with serve(Application(echo, process_request), HANDSHAKE_TIMEOUT="1") as server:
        assert refused(server).status_code == status
    assert line in caplog.text


def test_process_request_is_not_asked_for_what_the_server_refuses() -> None:
    asked: list[str] = []

    def ask(connection: Connection, _: Request) -> None:
        asked.append(connection.path)

    with serve(Application(echo, ask), ORIGINS="https://app.example") as server:
        assert refused(server, "/nope").status_code == 404
        assert refused(server, origin="https://evil.example").status_code == 403
        echoes(server)
    assert asked == ["/wss"]


def test_messages_that_come_with_the_handshake_are_not_lost() -> None:
    with (
        serve(Application(echo, _token)) as server,
        socket.create_connection(("localhost", server.port), 60) as client,
    ):
        client.sendall(HANDSHAKE.replace(b"/wss", b"/wss?token=secret") + frame(TEXT, b"tom"))
        with client.makefile("rb") as stream:
            while stream.readline() != b"\r\n":
                pass
            assert stream.read(5) == b"\x81\x03tom"


def test_a_client_that_leaves_during_process_request_is_forgotten() -> None:
    cancelled = asyncio.Event()

    async def wait(_: Connection, __: Request) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with serve(Application(echo, wait), HANDSHAKE_TIMEOUT="2") as server:
        with socket.create_connection(("localhost", server.port), 60) as client:
            client.sendall(HANDSHAKE)
        eventually(cancelled.is_set, "process_request is cancelled")


@pytest.mark.parametrize("process_request", [None, lambda _connection, _request: None])
def test_a_header_that_is_not_ascii_arrives_as_websockets_has_it(process_request: Any) -> None:
    seen: list[str] = []

    async def handler(connection: Connection) -> None:
        seen.append(connection.request.headers["X-Name"])

    with (
        serve(Application(handler, process_request)) as server,
        socket.create_connection(("localhost", server.port), 60) as client,
    ):
        client.sendall(HANDSHAKE.removesuffix(b"\r\n") + "X-Name: J\u00fcrgen\r\n\r\n".encode())
        eventually(lambda: seen, "the handler runs")
    assert seen == ["J\u00fcrgen".encode().decode("iso-8859-1")]


def test_lifespan_is_entered_before_the_first_client_and_left_after_the_last_one() -> None:
    events: list[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        events.append("enter")
        yield
        events.append("exit")

    async def handler(connection: Connection) -> None:
        events.append("open")
        await connection.wait_closed()
        events.append("closed")

    with serve(Application(handler, lifespan=lifespan)) as server, server.connect():
        eventually(lambda: "open" in events, "the handler runs")
    assert events == ["enter", "open", "closed", "exit"]


def test_a_task_of_lifespan_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def ticker() -> None:
        raise LookupError("no broker")

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        task = asyncio.create_task(ticker())
        yield
        task.cancel()

    with serve(Application(echo, lifespan=lifespan)) as server:
        echoes(server)
        eventually(lambda: "a task of lifespan has failed" in caplog.text, "a line in the log")
    assert "no broker" in caplog.text
    assert logging.getLogger("wss.application").isEnabledFor(logging.ERROR)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (
            "@asynccontextmanager\nasync def lifespan():\n    raise OSError('no database')\n    yield",
            "OSError: no database",
        ),
        ("async def lifespan(app):\n    yield", "lifespan in needy cannot be called as lifespan()"),
        ("def process_request(request):\n    pass", "process_request in needy cannot be called as"),
    ],
)
def test_what_is_wrong_stops_the_start_with_one_line(tmp_path: Path, source: str, line: str) -> None:
    handler = "\n\nasync def handler(connection):\n    pass\n"
    (tmp_path / "needy.py").write_text("from contextlib import asynccontextmanager\n" + source + handler)
    printed = failed_start(APP="needy:handler", PYTHONPATH=f"{BACKEND}:{tmp_path}")
    assert line in printed


@pytest.mark.parametrize("hang", [lambda: asyncio.sleep(600), lambda: time.sleep(600)])
def test_a_lifespan_that_hangs_stops_the_start_with_one_line(
    monkeypatch: pytest.MonkeyPatch, hang: Callable[[], Awaitable[None] | None]
) -> None:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        if waits := hang():
            await waits
        yield

    async def start() -> None:
        async with worker.running_lifespan(Application(echo, lifespan=lifespan), read_settings({})):
            pass

    monkeypatch.setattr(worker, "LIFESPAN_TIMEOUT", 1)
    with pytest.raises(SettingError, match=r"lifespan takes over 1 s before its yield\. Limit the time"):
        asyncio.run(start())


ROUTER = Router()


@ROUTER.route("/ws/rooms/{room}")
async def _room(connection: Connection, room: str) -> None:
    await connection.send(f"room {room}")


@ROUTER.route("/ws/items/{item:int}/{kind}")
async def _item(connection: Connection, item: int, kind: str) -> None:
    await connection.send(f"{kind} {item + 1}")


@ROUTER.route("/ws/files/{name:path}")
async def _file(connection: Connection, name: str) -> None:
    await connection.send(f"file {name}")


@pytest.mark.parametrize(
    ("path", "reply"),
    [
        ("/ws/rooms/tea", "room tea"),
        ("/ws/rooms/tea?x=/ws/items/1/a", "room tea"),
        ("/ws/rooms/a%2Fb%20c", "room a/b c"),
        ("/ws/items/41/tea", "tea 42"),
        ("/ws/files/a/b/c", "file a/b/c"),
        ("/ws/files/", "file "),
        ("/ws/rooms/", None),
        ("/ws/rooms/a/b", None),
        ("/ws/items/x/tea", None),
        (f"/ws/items/{'9' * 5000}/tea", None),
        ("/ws/other", None),
        ("/wss", None),
    ],
)
def test_a_router_serves_the_first_route_that_matches(path: str, reply: str | None) -> None:
    with serve(ROUTER, WS_PATHS="/ws/*") as server:
        if reply is None:
            assert refused(server, path).status_code == 404
        else:
            with server.connect(path) as client:
                assert client.recv(timeout=60) == reply


@pytest.mark.parametrize("path", ["ws", "/{a}/{a}", "/{a:list}", "/{a", "/{1}", "/a}"])
def test_a_route_that_cannot_be_meant_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"route '"):
        Router().route(path)
