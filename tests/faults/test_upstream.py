"""Row 22 of the contract: nginx and Apache in front of a server that is not ours (upstream.yaml)."""

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import websocket
from client import TIMEOUT, UPGRADE, Target, exchange, http_request, target_of
from eventually import eventually
from fixtures import Connect, NewStack
from load import ConnectionLoad
from stack import REPOSITORY, Stack
from time_limit import slowness, time_limit
from websockets.sync.server import ServerConnection, serve

pytestmark = [pytest.mark.profiles("nginx", "apache"), pytest.mark.long]

OVERLAY = (REPOSITORY / "compose.yaml", REPOSITORY / "upstream.yaml")
FILES = (*OVERLAY, REPOSITORY / "tests" / "harness" / "foreign" / "compose.yaml")
ORIGIN = "https://app.example"
SETTINGS = {
    "UPSTREAM": "app:9000",
    "WS_PATHS": "/wss,/ws/*,/both/*",
    "HTTP_PATHS": "/api/*,/both/*",
    "MAX_BODY": "64K",
    "ORIGINS": f"{ORIGIN},https://*.sub.example",
}
FORGED = {
    **dict.fromkeys(("X-Real-IP", "X-Forwarded-For", "X-Forwarded-Host", "Forwarded"), "192.0.2.66"),
    **dict.fromkeys(("X_Real_IP", "X_Forwarded_For", "X-Forwarded_For", "X_Forwarded-Proto"), "192.0.2.66"),
    # To PHP, these are the same, too.
    **dict.fromkeys(("X.Real.IP", "X.Real-IP", "X_Real.IP", "X-Forwarded.For", "X.Forwarded.Host"), "192.0.2.66"),
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Port": "1",
    "X-Client-Subject": "CN=ann",
    "Proxy": "http://evil",
}


@pytest.fixture(scope="module")
def stack(profile: str, new_shared_stack: NewStack) -> Stack:
    stack = new_shared_stack(profile, files=FILES, **SETTINGS)
    stack.up()
    return stack


@pytest.fixture
def target(stack: Stack, ca_file: Path) -> Target:
    return target_of(stack, ca_file)


@contextmanager
def reconfigured(stack: Stack, ca_file: Path, **settings: str) -> Iterator[Target]:
    """Replace the proxy by one with other settings."""
    _up(replace(stack, settings={**stack.settings, **settings}))
    try:
        yield target_of(stack, ca_file)
    finally:
        _up(stack)


def _up(stack: Stack) -> None:
    outcome = stack.compose("up", "--no-build", "--wait", "--no-deps", stack.profile)
    assert outcome.code == 0, outcome.output


def _client(stack: Stack) -> str:
    """Return the address of this machine as the proxy sees it: the gateway of the network that Docker chose."""
    networks = stack.container().attrs["NetworkSettings"]["Networks"].values()
    gateways = [str(network["Gateway"]) for network in networks]
    return next((line["client"] for line in _requests(stack) if line["client"] in gateways), "")


def _requests(stack: Stack) -> list[dict[str, Any]]:
    """Return the lines of the access log."""
    lines = stack.container().logs().decode().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def _seen(ws: websocket.WebSocket) -> dict[str, Any]:
    ws.send("who are you?")
    seen: dict[str, Any] = json.loads(ws.recv())
    return seen


def test_our_backend_is_neither_built_nor_started_nor_checked(stack: Stack) -> None:
    whole = replace(stack, overlays=())
    images = whole.compose("config", "--images").output
    assert stack.image("nginx").partition(":")[0].removesuffix("nginx") in images
    assert stack.image("backend") not in images
    services = {"certs", stack.profile, "app", "express", "php"}
    assert {*whole.compose("config", "--services").output.split()} == {"check", "names", *services}
    assert {container.labels["com.docker.compose.service"] for container in stack.containers()} == services


def test_the_profile_direct_does_not_exist(stack: Stack) -> None:
    outcome = replace(stack, profile="direct").compose("up", "--no-build", "--wait", "--no-deps")
    assert outcome.code != 0 or "direct" not in stack.compose("ps", "--services").output
    assert "direct" not in {container.labels["com.docker.compose.service"] for container in stack.containers()}


@pytest.mark.parametrize(
    "path", ["/wss", "/wss?a=%2F&b", "/ws/a%2Fb?c", "/ws//x", "/both/socket.io/?transport=websocket"]
)
def test_a_websocket_arrives_with_its_path_as_sent(target: Target, connect: Connect, path: str) -> None:
    ws = connect(replace(target, path=path), origin=ORIGIN, suppress_origin=False)
    assert _seen(ws)["path"] == path
    for message in ("text", "x" * 100_000):
        ws.send(message)
        assert ws.recv() == message
    ws.send_binary(b"\0\xff")
    assert ws.recv_data() == (websocket.ABNF.OPCODE_BINARY, b"\0\xff")


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/api/a%2Fb?c=%zz", {}, 200),
        ("GET", "/both/socket.io/?transport=polling", {}, 200),
        ("POST", "/both/socket.io/?transport=polling", {"Content-Length": "0"}, 200),
        *((method, "/api/x", {"Content-Length": "0"}, 200) for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS")),
        # Never an upgrade, not even on a path that may be a websocket.
        ("GET", "/api/x", UPGRADE, 200),
        ("GET", "/api/x", {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": ""}, 200),
        ("GET", "/both/x", {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": ""}, 200),
        # The application's own status.
        *(("GET", f"/api/status/{status}", {}, status) for status in (400, 401, 403, 404, 405, 413, 418, 426, 429)),
        *(("GET", f"/api/status/{status}", {}, status) for status in (500, 502, 503, 504)),
    ],
)
def test_a_request_of_http_paths_is_passed_unchanged(
    target: Target, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    response = http_request(target, path, headers=headers, method=method)
    assert (response.status, response.headers["x-from"]) == (status, "app")
    assert response.headers["content-type"] == "text/plain"
    assert "upgrade" not in response.headers
    seen = json.loads(response.text)
    assert (seen["method"], seen["path"]) == (method, path)
    assert [value for name, value in seen["headers"] if name == "upgrade"] == []
    assert [value for name, value in seen["headers"] if name == "connection"] == ["close"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        # The site.
        ("GET", "/", {}, 200),
        ("GET", "/api", {}, 404),
        ("GET", "/other", UPGRADE, 404),
        # A handshake.
        ("GET", "/wss", {}, 426),
        ("GET", "/ws/x", {**UPGRADE, "Upgrade": "h2c"}, 426),
        ("POST", "/both/x", {**UPGRADE, "Content-Length": "0"}, 405),
        ("GET", "/both/x", {**UPGRADE, "Content-Length": "5"}, 400),
        ("GET", "/wss", {**UPGRADE, "Origin": "https://evil.example"}, 403),
        ("GET", "/wss", {**UPGRADE, "Origin": "https://sub.example"}, 403),
        ("GET", "/wss", {**UPGRADE, "Origin": f"{ORIGIN}.evil.example"}, 403),
        ("GET", "/wss", {**UPGRADE, "Origin": "null"}, 403),
        ("GET", "/wss", {**UPGRADE, "Host": "foreign.example"}, 421),
        ("GET", "/api/x", {"Host": "foreign.example"}, 421),
        # A prefix cannot be left.
        *(("GET", path, {}, 404) for path in ("/api/../wss", "/api/%2e%2E/x", "/api/..", "/api/./x", "/api/.%2e/")),
        ("GET", "/ws/../api/x", UPGRADE, 404),
    ],
)
def test_the_rules_of_the_proxy_hold(
    target: Target, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    response = http_request(target, path, headers=headers, method=method)
    assert response.status == status
    assert "x-from" not in response.headers


@pytest.mark.parametrize("origin", [ORIGIN, ORIGIN.upper(), "https://a.b.sub.example"])
def test_an_origin_in_the_list_may_connect(target: Target, origin: str) -> None:
    assert http_request(target, headers={**UPGRADE, "Origin": origin}).status == 101


def test_headers_about_the_client_are_those_of_the_proxy(stack: Stack, target: Target) -> None:
    http_request(target, "/api/first")
    client, authority = eventually(lambda: _client(stack), "the proxy logs a request"), target.authority
    expected = {
        ("x-real-ip", client),
        ("x-forwarded-for", client),
        ("x-forwarded-host", authority),
        ("x-forwarded-port", str(target.port)),
        ("x-forwarded-proto", "https"),
        ("host", authority),
    }
    for connection in ("close", "X-Real-IP, X-Forwarded-For, X-Forwarded-Proto, close"):
        response = http_request(target, "/api/seen", headers={**FORGED, "Connection": connection})
        seen = json.loads(response.text)
        assert (seen["client"], seen["scheme"]) == (client, "https")  # with uvicorn's --proxy-headers
        headers = [(name, value) for name, value in seen["headers"] if name.replace("_", "-") in dict(expected)]
        assert len(headers) == len(expected)
        assert set(headers) == expected
        names = {name for name, _ in seen["headers"]}
        assert not names & {"forwarded", "proxy", "x-client-subject", "x-client-serial", "x-client-issuer"}
    # An absolute URL counts, not the Host beside it (RFC 9112 section 3.2.2).
    with target.open_tls() as tls:
        lines = [f"GET https://{authority}/api/seen HTTP/1.1", "Host: evil.example"]
        response = exchange(tls, lines)
    if response.status == 200:
        hosts = {value for name, value in json.loads(response.text)["headers"] if "host" in name}
        assert not any("evil" in host for host in hosts)
    else:
        assert response.status in (400, 421)


@pytest.mark.parametrize(("size", "status"), [(65536, 200), (65537, 413)])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_may_have_max_body_bytes(target: Target, size: int, status: int, chunked: bool) -> None:
    with target.open_tls() as connection:
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
        body = f"{size:x}\r\n{'x' * size}\r\n0\r\n\r\n" if chunked else "x" * size
        head = f"POST /api/x HTTP/1.1\r\nHost: {target.authority}\r\n{length}\r\n\r\n"
        connection.sendall(f"{head}{body}".encode())
        answered, text = _response(connection)
    assert answered == status
    if status == 200:
        assert json.loads(text)["body"] == size
    else:
        assert text == "The body of this request is over MAX_BODY.\n"


def _response(connection: ssl.SSLSocket) -> tuple[int, str]:
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, response.read().decode()


def test_a_response_streams(stack: Stack, target: Target) -> None:
    before = stack.logs("app").count("has left")
    with target.open_tls() as connection:
        connection.sendall(f"GET /api/stream HTTP/1.1\r\nHost: {target.authority}\r\n\r\n".encode())
        received = b""
        while b"data: next" not in received:  # the response has no end
            received += connection.recv(4096)
    eventually(lambda: stack.logs("app").count("has left") > before, "the application sees that the reader has left")


@pytest.mark.parametrize(
    "lines",
    [
        ["POST /api/x HTTP/1.1", "Content-Length: 5", "Transfer-Encoding: chunked"],
        ["POST /api/x HTTP/1.1", "Content-Length: 5", "Content-Length: 6"],
        ["POST /api/x HTTP/1.1", "Transfer-Encoding: chunked, identity"],
        ["POST /api/x HTTP/1.1", "Transfer-Encoding : chunked"],
        ["POST /api/x HTTP/1.1", "Transfer-Encoding: xchunked"],
        ["POST /both/x HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket", "Transfer-Encoding: chunked"],
    ],
)
def test_no_request_is_smuggled_in_a_body(stack: Stack, target: Target, lines: list[str]) -> None:
    smuggled = f"GET /smuggled HTTP/1.1\r\nHost: {target.authority}\r\n\r\n"
    with target.open_tls() as connection:
        head = "".join(f"{line}\r\n" for line in (lines[0], f"Host: {target.authority}", *lines[1:], ""))
        connection.sendall(f"{head}0\r\n\r\n{smuggled}".encode())
        status, _ = _response(connection)
    assert status in (200, 400, 405, 411, 501)
    marker = f"/api/after-{time.monotonic_ns()}"
    assert http_request(target, marker).status == 200
    assert "smuggled" not in stack.logs("app").partition(stack.wait_for_log("app", marker))[0]


@pytest.mark.parametrize("upstream", ["express", "php"])
def test_other_frameworks_see_the_client_and_https(stack: Stack, ca_file: Path, upstream: str) -> None:
    with reconfigured(stack, ca_file, UPSTREAM=f"{upstream}:9000") as target:
        seen = json.loads(http_request(target, "/api/x", headers=FORGED).text)
        client = eventually(lambda: _client(stack), "the proxy logs a request")
        if upstream == "express":
            assert seen == {
                "protocol": "https",
                "secure": True,
                "ip": client,
                # Express takes the first X-Forwarded-Host, with the port.
                "hostname": target.host,
                "host": target.authority,
            }
            assert http_request(target, headers=UPGRADE).status == 101
        else:
            assert (seen["HTTP_X_REAL_IP"], seen["HTTP_X_FORWARDED_FOR"]) == (client, client)
            assert (seen["HTTP_HOST"], seen["HTTP_X_FORWARDED_PROTO"]) == (target.authority, "https")
            assert seen["HTTP_X_FORWARDED_PORT"] == str(target.port)
            assert not seen.keys() & {"HTTP_PROXY", "HTTP_FORWARDED"}


def _is_served(target: Target) -> bool:
    websocket_status = http_request(target, headers=UPGRADE).status
    return (websocket_status, http_request(target, "/api/x").status) == (101, 200)


def test_a_server_that_is_gone_is_503_at_once_and_back_within_two_seconds(stack: Stack, target: Target) -> None:
    app = stack.container("app")
    for signal in ("SIGTERM", "SIGKILL"):
        app.kill(signal)
        app.wait()
        for path, headers in (("/wss", UPGRADE), ("/api/x", {})) * 3:
            with time_limit(3, "503"):
                response = http_request(target, path, headers=headers)
            assert (response.status, response.headers["retry-after"]) == (503, "1")
            assert "No backend is ready" in response.text
        assert http_request(target, "/").status == 200
        app.start()
        eventually(lambda: _accepts(stack), "the application listens")
        with time_limit(2, "recovery"):
            eventually(lambda: _is_served(target), "the application is served again")


def _accepts(stack: Stack) -> bool:
    return stack.container("app").exec_run(["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9000"]).exit_code == 0


def test_several_addresses_of_one_name_are_followed(stack: Stack, target: Target) -> None:
    def scale(count: int) -> None:
        outcome = stack.compose("up", "--no-build", "--no-deps", "--no-recreate", f"--scale=app={count}", "-d", "app")
        assert outcome.code == 0, outcome.output

    def http_server() -> str:
        return str(json.loads(http_request(target, "/api/x").text)["server"])

    def websocket_server() -> str:
        ws = websocket.create_connection(
            target.url, sslopt={"context": target.context()}, timeout=TIMEOUT, suppress_origin=True
        )
        try:
            return str(_seen(ws)["server"])
        finally:
            ws.shutdown()  # type: ignore[no-untyped-call]

    scale(2)
    try:
        for server in (websocket_server, http_server):
            eventually(lambda server=server: len({server() for _ in range(10)}) == 2, "both servers answer")  # type: ignore[misc]
        with ConnectionLoad(target, use=_seen) as load:
            stack.containers("app")[0].kill()
            load.wait_for_attempts(load.attempts + 50)
        assert load.failed_connects == []
    finally:
        for container in stack.containers("app"):
            if container.status != "running":
                container.remove(force=True)
        scale(1)


@contextmanager
def _server_of_the_host() -> Iterator[int]:
    """A server on a port of this machine, which no container shares."""

    def handler(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(f"host: {message!s}")

    with serve(handler, "0.0.0.0", 0) as server:  # noqa: S104  # containers connect over Docker's bridge
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join()


def test_a_port_of_the_host_is_reached_by_name(stack: Stack, ca_file: Path, connect: Connect) -> None:
    with _server_of_the_host() as port, reconfigured(stack, ca_file, UPSTREAM=f"host.docker.internal:{port}") as target:
        ws = connect(target)
        ws.send("tom")
        assert ws.recv() == "host: tom"
    with socket.socket() as closed:
        closed.bind(("", 0))  # and does not listen
        port = closed.getsockname()[1]
        with reconfigured(stack, ca_file, UPSTREAM=f"host.docker.internal:{port}") as target, time_limit(3, "503"):
            assert http_request(target, headers=UPGRADE).status == 503


def test_a_server_of_another_network_is_reached(stack: Stack, ca_file: Path, connect: Connect) -> None:
    name = f"{stack.project}-theirs"
    network = stack.engine.networks.create(name)
    container = stack.engine.containers.create(stack.image("foreign"), **stack.beside)
    try:
        network.connect(container, aliases=["theirs"])
        container.start()
        with reconfigured(stack, ca_file, UPSTREAM="theirs:9000", UPSTREAM_NETWORK=name) as target:
            eventually(lambda: http_request(target, headers=UPGRADE).status == 101, "the server is reached")
            assert _seen(connect(target))["path"] == "/wss"
    finally:
        container.remove(force=True)
        network.remove()


def test_a_silent_websocket_lives_for_idle_timeout(stack: Stack, ca_file: Path, connect: Connect) -> None:
    with reconfigured(stack, ca_file, IDLE_TIMEOUT="10", PROXY_CONNECTIONS="2") as target:
        before = time.monotonic()
        silent, active = connect(target), connect(target)
        # Beyond PROXY_CONNECTIONS, of both kinds together.
        for path, headers in (("/wss", UPGRADE), ("/api/x", {})):
            refused = http_request(target, path, headers=headers)
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert http_request(target, "/").status == 200
        started = time.monotonic()
        with ThreadPoolExecutor() as pool:
            end = pool.submit(_wait_for_the_end, silent)
            while not end.done():
                active.send("x")
                assert active.recv() == "x"
                wait([end], 1)
        assert end.result() - before > 9
        assert end.result() - started < 13 * slowness()


def _wait_for_the_end(ws: websocket.WebSocket) -> float:
    """Wait until the connection ends without a close frame (clients report 1006); return the time."""
    with pytest.raises((websocket.WebSocketConnectionClosedException, OSError)):
        ws.recv()
    return time.monotonic()


def test_a_silent_websocket_outlives_30_seconds_by_default(target: Target, connect: Connect) -> None:
    ws = connect(target)
    ws.settimeout(35)
    with pytest.raises(websocket.WebSocketTimeoutException):
        ws.recv()
    ws.send("x")
    assert ws.recv() == "x"


def test_a_stop_of_the_proxy_lets_clients_finish_and_then_ends_them_without_a_close_frame(
    stack: Stack, target: Target, connect: Connect
) -> None:
    finishing, staying = connect(target), connect(target)
    started = time.monotonic()
    stop = threading.Thread(target=stack.compose, args=("stop", stack.profile))
    stop.start()
    try:
        # Until the end, messages pass.
        while time.monotonic() - started < 5:
            finishing.send("x")
            assert finishing.recv() == "x"
        finishing.close()
        _wait_for_the_end(staying)
        seconds = time.monotonic() - started
        assert 10 < seconds < 25 * slowness(), seconds
    finally:
        stop.join()
    assert stack.container().wait()["StatusCode"] == 0
    _up(stack)


def test_a_stop_of_the_application_reaches_its_clients_with_its_own_close_code(
    stack: Stack, target: Target, connect: Connect
) -> None:
    ws = connect(target)
    app = stack.container("app")
    app.stop()
    opcode, data = ws.recv_data()
    assert (opcode, int.from_bytes(data[:2], "big")) == (websocket.ABNF.OPCODE_CLOSE, 1012)  # uvicorn's
    app.start()
    eventually(lambda: _is_served(target), "the application is served again")
