"""Whatever values `check` accepts, what uses them accepts, too. The proxies: tests/faults/test_rendered_settings.py."""

import http.client
import ssl
import string
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as with_limits
from hypothesis import strategies as st
from multidict import CIMultiDict
from server import TIMEOUT, Connect, Start
from wss.config import addresses
from wss.config.environment import SettingError
from wss.config.settings import read_settings
from wss.handshake.policy import Handshake
from wss.handshake.request import HttpRequest
from wss.net.tls import server_context
from wss.observability.metrics import ServedMetrics
from wss.process import internal_http

LABEL = st.from_regex(r"[A-Za-z_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?", fullmatch=True)
HOST = st.one_of(
    st.lists(LABEL, min_size=1, max_size=4).map(".".join),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map("[{}]".format),
)
SPACE = st.text(" \t\r\n", max_size=2)
HEADERS = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def status(environment: dict[str, str], target: str = "/wss", **headers: str) -> int:
    """Return the status of a handshake."""
    request = HttpRequest(target, CIMultiDict({**HEADERS, **headers}))
    refused = Handshake(read_settings(environment)).refuse(request)
    return refused.status if refused else 101


def listed(items: list[str], space: str) -> str:
    return f"{space},{space}".join(items)


@given(names=st.lists(HOST, min_size=1, max_size=5), space=SPACE)
def test_every_name_of_domain_is_served(names: list[str], space: str) -> None:
    for name in names:
        assert status({"DOMAIN": listed(names, space)}, Host=f"{name}:8443") == 101


def test_five_hundred_of_the_longest_names_are_served() -> None:
    names = [f"{number:063}.{'a' * 63}.{'b' * 63}.{'c' * 61}" for number in range(500)]
    origins = ",".join(f"https://{name}" for name in names)
    assert status({"DOMAIN": ",".join(names), "ORIGINS": origins}, Host=names[-1], Origin=f"https://{names[-1]}") == 101


@given(
    paths=st.lists(
        st.text(string.ascii_letters + string.digits + "!$&'()+-./:;=@_~*").map("/{}".format), min_size=1, max_size=5
    ),
    rest=st.text(string.ascii_letters + "/", max_size=5),
    space=SPACE,
)
def test_every_path_that_is_accepted_is_a_websocket(paths: list[str], rest: str, space: str) -> None:
    value = listed(paths, space)
    with suppress(SettingError):
        accepted = read_settings({"WS_PATHS": value}).ws_paths
        assert list(accepted) == paths
        for path in paths:
            target = path.removesuffix("*") + (rest if path.endswith("*") else "")
            assert status({"WS_PATHS": value}, target) == 101


@given(
    origins=st.lists(
        st.tuples(st.sampled_from(["http", "https"]), HOST, st.none() | st.integers(1, 65535)), min_size=1, max_size=5
    ),
    space=SPACE,
)
def test_every_origin_that_is_accepted_may_connect(origins: list[tuple[str, str, int | None]], space: str) -> None:
    names = [f"{scheme}://{host}{f':{port}' if port else ''}" for scheme, host, port in origins]
    value = listed(names, space)
    for (scheme, _, port), name in zip(origins, names, strict=True):
        # Browsers do not send the default port.
        sent = name.removesuffix(f":{port}") if port == {"http": 80, "https": 443}[scheme] else name
        assert status({"ORIGINS": value}, Origin=sent) == 101
    assert status({"ORIGINS": value}, Origin="https://foreign.origin.invalid") == 403


@pytest.mark.parametrize(
    "origin",
    [
        "capacitor://localhost",
        "ionic://localhost",
        "tauri://localhost",
        "http://tauri.localhost",
        "https://localhost",
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        "moz-extension://0b2c5cd8-1d4e-4d3c-9c4b-1f0a8d9a2a11",
        "safari-web-extension://0B2C5CD8-1D4E-4D3C-9C4B-1F0A8D9A2A11",
        "vscode-webview://1a2b3c",
        "app://obsidian.md",
        "app://-",
        "com.example.app://localhost:3000",
    ],
)
def test_the_origin_of_an_app_may_connect(origin: str) -> None:
    assert status({"ORIGINS": f"https://example.com,{origin}"}, Origin=origin) == 101
    assert status({"ORIGINS": "https://example.com"}, Origin=origin) == 403
    assert status({"ORIGINS": origin}, Origin=f"{origin}x") == 403


@given(names=st.lists(st.text(string.ascii_letters + string.digits + "!#$%&'*+.^_`|~-", min_size=1), min_size=1))
def test_every_subprotocol_that_is_accepted_is_negotiated(names: list[str]) -> None:
    with suppress(SettingError):  # a quotation mark at both ends
        handshake = Handshake(read_settings({"SUBPROTOCOLS": ",".join(names)}))
        for name in names:
            request = HttpRequest("/wss", CIMultiDict({**HEADERS, "Sec-WebSocket-Protocol": f"other//, {name}"}))
            assert handshake.negotiate(request) == {"Sec-WebSocket-Protocol": name}


@with_limits(max_examples=8)
@given(token=st.text(string.ascii_letters + string.digits + string.punctuation, min_size=1, max_size=200))
def test_every_push_token_that_is_accepted_opens_the_endpoint(
    tmp_path_factory: pytest.TempPathFactory, token: str
) -> None:
    try:
        settings = read_settings({"PUSH_TOKEN": token, "METRICS_PORT": "0"})
    except SettingError:
        return
    run_dir = tmp_path_factory.getbasetemp()
    server = internal_http.serve(settings, run_dir, ServedMetrics(run_dir))
    try:
        for given_token, expected in ((token, 503), (f"{token}x", 401)):  # 503: there is no worker
            client = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=TIMEOUT)
            headers = {"Authorization": f"Bearer {given_token}", "Content-Length": "1"}
            client.request("POST", "/push?all", b"x", headers)
            assert client.getresponse().status == expected
            client.close()
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("policy", ["", "intermediate", "Modern", "MODERN\r\n"])
def test_every_tls_policy_makes_a_context(policy: str, tls_dir: Path, client_context: ssl.SSLContext) -> None:
    settings = read_settings({"TLS_POLICY": policy})
    context = server_context(tls_dir, modern=settings.tls_modern)
    client_context.maximum_version = ssl.TLSVersion.TLSv1_2
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = context.wrap_bio(to_server, to_client, server_side=True)

    def shake_hands() -> str | None:
        for _ in range(3):
            for end in (client, server):
                with suppress(ssl.SSLWantReadError):
                    end.do_handshake()
        return client.version()

    if settings.tls_modern:
        with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
            shake_hands()
    else:
        assert shake_hands() == "TLSv1.2"


LEAST = {
    **dict.fromkeys(("MAX_MESSAGE", "MAX_FRAGMENTS", "MAX_CONNECTIONS", "WRITE_LIMIT", "WORKERS"), "1"),
    **dict.fromkeys(("MAX_CONNECTIONS_PER_ADDRESS", "MAX_HANDSHAKES_PER_ADDRESS"), "1"),
    **dict.fromkeys(("PING_INTERVAL", "SLOW_READER_TIMEOUT"), "0.1"),
    "MAX_HEADER": "1K",
    "IDLE_TIMEOUT": "11",
    "STOP_SPREAD": "0",
    "PING_TIMEOUT": "5",
    "HANDSHAKE_TIMEOUT": "5",
}
MOST = {
    **dict.fromkeys(("MAX_MESSAGE", "WRITE_LIMIT"), "1024M"),
    **dict.fromkeys(("MAX_FRAGMENTS", "MAX_CONNECTIONS", "MAX_CONNECTIONS_PER_ADDRESS"), "9" * 9),
    **dict.fromkeys(("PING_INTERVAL", "PING_TIMEOUT", "HANDSHAKE_TIMEOUT"), "3600"),
    "MAX_HEADER": "16K",
    "IDLE_TIMEOUT": "86400",
    "STOP_SPREAD": "5",
    "SLOW_READER_TIMEOUT": "30",
    "MAX_HANDSHAKES_PER_ADDRESS": "9" * 9,
    "PUSH_TOKEN": "x" * 10000,
    "LOG_LEVEL": "debug",
    "DOMAIN": ",".join(["localhost", *(f"{number:063}.example" for number in range(500))]),
    "WS_PATHS": "/wss,/" + "a" * 994,
    "SUBPROTOCOLS": ",".join(f"protocol.{number}" for number in range(500)),
}


@pytest.mark.parametrize("environment", [LEAST, MOST], ids=["least", "most"])
def test_a_server_starts_and_serves_with_the_extremes(
    start: Start, connect: Connect, environment: dict[str, str]
) -> None:
    server = start(APP="apps.echo:handler", **environment)
    ws = connect(server)
    ws.send("x")
    assert ws.recv() == "x"


def test_the_origins_that_proxies_check_have_a_limit() -> None:
    value = ",".join(["https://a.example"] * 200)
    assert addresses.origins(value)
    with pytest.raises(ValueError, match=r"3599 characters, and 2500 are the max\. Give fewer"):
        addresses.proxy_origins(value)
