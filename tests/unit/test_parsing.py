"""The parsers of external input: for every input, they return a value or the expected error."""

import ssl
import string
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from wss.config.environment import SettingError
from wss.config.settings import read_settings
from wss.handshake.forwarded import normalize_address
from wss.handshake.policy import Handshake, sanitized
from wss.handshake.request import HttpRequest
from wss.net.client_hello import server_name

SETTINGS = (
    *(
        "APP",
        "COMPRESSION",
        "DOMAIN",
        "HANDSHAKE_TIMEOUT",
        "MAX_CONNECTIONS",
        "MAX_FRAGMENTS",
        "MAX_MESSAGE",
        "ORIGINS",
    ),
    *("PING_INTERVAL", "PING_TIMEOUT", "PORT", "SLOW_READER_TIMEOUT", "STOP_SPREAD", "SUBPROTOCOLS", "TRUSTED_PROXIES"),
    *("HSTS", "LOG_FORMAT", "MAX_CONNECTIONS_PER_ADDRESS", "MAX_HANDSHAKES_PER_ADDRESS", "MAX_HEADER", "METRICS_PORT"),
    *("TLS_POLICY", "WORKERS", "WRITE_LIMIT", "WS_PATHS", "MESSAGE_RATE", "BYTE_RATE"),
)
HEADERS = (
    *("Host", "Upgrade", "Connection", "Origin", "Sec-WebSocket-Key", "Sec-WebSocket-Version"),
    *("Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "X-Real-IP", "X-Forwarded-For"),
)
LABELS = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@given(name=st.sampled_from(SETTINGS), value=st.text())
def test_any_value_of_a_setting_is_accepted_or_an_error_with_a_remedy(name: str, value: str) -> None:
    message = None
    try:
        read_settings({name: value})
    except SettingError as error:
        message = str(error)
    assert message is None or "Give " in message


@given(names=st.lists(LABELS.map("{}.example".format), min_size=1), blank=st.sampled_from(["", " ", "  "]))
def test_spaces_in_a_domain_are_ignored(names: list[str], blank: str) -> None:
    written = f"{blank},{blank}".join(name.upper() for name in names)
    assert set(read_settings({"DOMAIN": f"{blank}{written}{blank},"}).domain) == set(names)


@given(
    path=st.text(alphabet=string.printable),
    headers=st.lists(st.tuples(st.sampled_from(HEADERS), st.text(alphabet=st.characters(codec="latin-1")))),
)
def test_any_request_gets_a_response(path: str, headers: list[tuple[str, str]]) -> None:
    handshake = Handshake(read_settings({"ORIGINS": "https://*.example.com", "COMPRESSION": "on"}))
    refused = handshake.refuse(sanitized(HttpRequest(path, CIMultiDict(headers)), behind_a_proxy=False))
    # By chance alone, nobody finds the way in.
    assert refused is not None
    assert 400 <= refused.status < 500 or (refused.status == 200 and path in ("/healthz", "/readyz"))


@given(host=st.text(), port=st.none() | st.integers())
def test_only_the_hosts_in_domain_are_served(host: str, port: int | None) -> None:
    if host.lower() == "localhost":
        return
    value = host if port is None else f"{host}:{port}"
    refused = Handshake(read_settings({})).refuse(HttpRequest("/healthz", CIMultiDict([("Host", value)])))
    assert refused is not None
    # A port does not change the name.
    assert refused.status == (200 if value.lower().startswith("localhost:") else 421)


@given(address=st.ip_addresses())
def test_a_normalized_address_stays_the_same(address: object) -> None:
    assert normalize_address(normalize_address(str(address))) == normalize_address(str(address))


def client_hello(name: str | None) -> bytes:
    outgoing = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = name is not None  # needs a name
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


@given(labels=st.lists(LABELS, min_size=1, max_size=5))
def test_the_server_name_is_what_the_client_sent(labels: list[str]) -> None:
    name = ".".join(labels)
    assert server_name(client_hello(name)) == name


def test_a_client_hello_without_server_name_has_none() -> None:
    assert server_name(client_hello(None)) is None


def names_for_openssl(hello: bytes) -> list[str | None]:
    """Return the name that OpenSSL reads in a ClientHello; an empty list if it rejects it."""
    names: list[str | None] = []
    incoming = ssl.MemoryBIO()
    incoming.write(hello)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda _connection, name, _context: names.append(name)
    with suppress(ssl.SSLError):
        context.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True).do_handshake()
    return names


@given(data=st.data())
def test_the_server_name_in_a_corrupt_client_hello_is_the_one_that_openssl_reads(data: st.DataObject) -> None:
    hello = bytearray(client_hello("localhost"))
    for _ in range(data.draw(st.integers(0, 5))):
        hello[data.draw(st.integers(0, len(hello) - 1))] = data.draw(st.integers(0, 255))
    received = bytes(hello[: data.draw(st.none() | st.integers(0, len(hello)))])
    name = server_name(received)
    if name is None or "\\x" not in name:  # Python's callback takes only ASCII
        for theirs in names_for_openssl(received):
            assert name == (theirs and theirs.lower())
