"""WS_PATHS means the same in all profiles: which requests reach the handler, and with which path."""

import json
from collections.abc import Collection
from pathlib import Path

import pytest
import websocket
from client import TIMEOUT, UPGRADE, Target, exchange, http_request, target_of
from fixtures import NewStack

UPGRADE_LINES = [f"{name}: {value}" for name, value in UPGRADE.items()]
LITERAL = "/v1.0+x$(y)!'&=@;:~"
# A request target, and the possible statuses of a handshake.
TARGETS: list[tuple[str, Collection[int]]] = [
    *((path, {101}) for path in ("/wss", "/wss?", "/wss?a=%2F&b=/../%zz?&", "http://{authority}/wss?a")),
    *((path, {101}) for path in ("/ws/", "/ws/a", "/ws/a?", "/ws/a?b&", "/ws/a/b/", "/ws/a//b", "/ws//", "/ws/wss")),
    # Escapes stay as they are.
    *((path, {101}) for path in ("/ws/a%2Fb", "/ws/a%2fb", "/ws/%61", "/ws/%E4%B8%AD", "/ws/%25", "/ws/%2525")),
    *(
        (path, {101})
        for path in ("/ws/a%3Fb", "/ws/a%3fb?c?d", "/ws/%23", "/ws/%20", "/ws/%5C", "/ws/%0D%0A", "/ws/%7F")
    ),
    *(
        (path, {101})
        for path in ("/ws/-._~!$&'()*+,;=:@", "/ws/a|b", "/ws/[1]", "/ws/{{x}}", "/ws/^`", "http://{authority}/ws/%2F")
    ),
    *(
        (path, {101})
        for path in ("/ws/.a", "/ws/.again", "/ws/...", "/ws/a..", "/ws/..a", "/ws/a%2F..", "/ws/a;/b", "/ws/$1%241")
    ),
    ("/ws/" + "x" * 4000, {101}),
    # Not a regular expression, although it is one.
    *((path, {101}) for path in (LITERAL, LITERAL + "?a", "/v2.(0)/", "/v2.(0)/%2F")),
    *((path, {404}) for path in (LITERAL.replace(".", "x"), LITERAL + "a", "/v2.0/", "/v2x(0)/")),
    # Other spellings of the same path, and paths that are similar.
    *(
        (path, {404})
        for path in (
            "//wss",
            "/%77ss",
            "/./wss",
            "/wss/",
            "/wss/.",
            "/WSS",
            "/wss%3Fa",
            "/wss%20",
            "/%2Fwss",
            "/a/../wss",
        )
    ),
    *(
        (path, {404})
        for path in ("/ws", "//ws/a", "/w%73/a", "/ws%2Fa", "/./ws/a", "/wsa/", "/internal/proxy-draining")
    ),
    # A prefix cannot be left.
    *((path, {404}) for path in ("/ws/../wss", "/ws/..", "/ws/../", "/ws/../index.html", "/ws/a/../b", "/ws/a/..")),
    *((path, {404}) for path in ("/ws/.", "/ws/./", "/ws/./x", "/ws/%2e/x", "/ws/%2e%2e/x", "/ws/.%2E/x", "/ws/%2E.")),
    *(
        (path, {400, 404})
        for path in ("/ws/../../x", "/ws/%2e%2e/%2e%2e/x", "/ws/%00", "/ws/%", "/ws/%2", "/ws/%zz", "/ws/a#b")
    ),
    ("ws/a", {400, 421}),
    # Not a request target.
    *((path, {400}) for path in ("/ws/a b", "/ws/\x01", "/ws/\x7f", "/ws/\xe9", "/wss?\xe9")),
]


@pytest.fixture(scope="module")
def target(profile: str, new_shared_stack: NewStack, ca_file: Path) -> Target:
    stack = new_shared_stack(profile, APP="apps.whoami:handler", WS_PATHS=f"/wss, /ws/*,{LITERAL},/v2.(0)/*")
    stack.up()
    return target_of(stack, ca_file)


def test_the_same_requests_reach_the_handler_with_the_path_as_it_was_sent(target: Target) -> None:
    wrong = []
    for template, statuses in TARGETS:
        path = template.format(authority=target.authority)
        status, arrived = _shake_hands(target, path)
        if status not in statuses or (status == 101 and arrived != path.removeprefix(f"http://{target.authority}")):
            wrong.append((path, status, arrived))
    assert wrong == []


def _shake_hands(target: Target, path: str) -> tuple[int, str]:
    """Return the status, and after a 101 the path with its query that the handler saw."""
    with target.open_tls() as connection:
        status = exchange(connection, [f"GET {path} HTTP/1.1", f"Host: {target.authority}", *UPGRADE_LINES]).status
        if status != 101:
            return status, ""
        ws = websocket.WebSocket()
        ws.sock, ws.connected = connection, True
        ws.settimeout(TIMEOUT)
        ws.send("which path?")
        return status, json.loads(ws.recv())["path"]


@pytest.mark.parametrize("path", ["/wss", "/ws/a%2Fb?c"])
@pytest.mark.parametrize(
    ("request_line", "lines", "status"),
    [
        ("GET {path} HTTP/1.1", [], 426),
        ("GET {path} HTTP/1.0", UPGRADE_LINES, 426),
        ("GET {path} HTTP/1.1", ["Connection: Upgrade", "Upgrade: h2c"], 426),
        ("GET {path} HTTP/1.1", [*UPGRADE_LINES, "Content-Length: 5"], 400),
        ("GET {path} HTTP/1.1", [*UPGRADE_LINES, "Transfer-Encoding: chunked"], 400),
        ("POST {path} HTTP/1.1", UPGRADE_LINES, 405),
        ("DELETE {path} HTTP/1.1", [], 405),
    ],
)
def test_the_rules_of_a_handshake_hold_for_every_path(
    target: Target, path: str, request_line: str, lines: list[str], status: int
) -> None:
    with target.open_tls() as connection:
        response = exchange(connection, [request_line.format(path=path), f"Host: {target.authority}", *lines])
    assert response.status == status
    if status == 426:
        assert (response.headers["upgrade"], response.headers["sec-websocket-version"]) == ("websocket", "13")
    if status == 405:
        assert response.headers["allow"] == "GET"


@pytest.mark.parametrize("paths", ["/wss,/", "/*"])
def test_the_page_stays_even_if_its_path_is_a_websocket(
    profile: str, new_stack: NewStack, ca_file: Path, paths: str
) -> None:
    stack = new_stack(profile, APP="apps.whoami:handler", WS_PATHS=paths)
    stack.up()
    target = target_of(stack, ca_file)
    for path in ("/", "/?a"):
        assert _shake_hands(target, path) == (101, path)
        page = http_request(target, path)
        assert page.status == 200
        assert "<html" in page.text
    assert http_request(target, "/", headers={**UPGRADE, "Upgrade": "h2c"}).status == 426
    if paths == "/*":
        assert _shake_hands(target, "/.again//%2e.a") == (101, "/.again//%2e.a")
        assert http_request(target, "/index.html").status == 426
        # Only the proxy itself may ask a backend to close its clients.
        assert _shake_hands(target, "/internal/proxy-draining") == (101, "/internal/proxy-draining")
