"""The doctor, fourth step: what else than good TLS is on a port."""

import http.server
import itertools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import trustme
import websockets.sync.server
from diagnosis import problem_of, warnings_of
from faulty import NAME, examine_port, read_head, serving


@pytest.fixture(scope="module")
def leaf() -> trustme.LeafCert:
    return trustme.CA().issue_cert(NAME, key_type=trustme.KeyType.RSA)


def _context(leaf: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    return context


@pytest.fixture
def web_server() -> Iterator[int]:
    class Quiet(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_web_server_without_tls(web_server: int) -> None:
    assert problem_of(examine_port(web_server)) == "tls-plain-http"


def test_a_websocket_without_tls() -> None:
    def echo(connection: websockets.sync.server.ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    with websockets.sync.server.serve(echo, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert problem_of(examine_port(server.socket.getsockname()[1])) == "tls-plain-ws"
        server.shutdown()


def test_a_server_that_says_nothing() -> None:
    with serving(lambda connection: read_forever(connection)) as port:
        assert problem_of(examine_port(port)) == "tls-silent"


def test_a_server_that_hangs_up() -> None:
    with serving(lambda connection: connection.close()) as port:
        assert problem_of(examine_port(port)) == "tls-closed"


def test_a_server_of_another_protocol() -> None:
    with serving(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_10.0\r\n")) as port:
        assert problem_of(examine_port(port)) == "tls-other"


def test_nothing_in_common(leaf: trustme.LeafCert) -> None:
    context = _context(leaf)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-GCM-SHA256")  # without forward secrecy
    with serving(read_head_and_leave, context) as port:
        assert problem_of(examine_port(port)) == "tls-refused"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_obsolete_versions_alone(leaf: trustme.LeafCert) -> None:
    context = _context(leaf)
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with serving(read_head_and_leave, context) as port:
        assert problem_of(examine_port(port)) == "tls-obsolete-only"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_obsolete_versions_beside_others(leaf: trustme.LeafCert) -> None:
    context = _context(leaf)
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ALL:@SECLEVEL=0")
    with serving(read_head_and_leave, context) as port:
        assert {"tls-obsolete", "tls-no-1.3"} <= warnings_of(examine_port(port))


def test_no_tls_1_2_and_nothing_against_quantum_computers(leaf: trustme.LeafCert) -> None:
    context = _context(leaf)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_ecdh_curve("prime256v1")
    with serving(read_head_and_leave, context) as port:
        assert {"tls-no-1.2", "tls-no-post-quantum"} <= warnings_of(examine_port(port))


def read_forever(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def read_head_and_leave(connection: socket.socket) -> None:
    read_head(connection)


def drip(connection: socket.socket) -> None:
    """Say a long record a byte at a time, each of them in time."""
    connection.settimeout(0.1)
    for byte in itertools.chain(b"\x16\x03\x03\x40\x00", itertools.repeat(2)):
        with suppress(TimeoutError):
            while connection.recv(65536):
                pass
        connection.sendall(bytes([byte]))


@pytest.mark.parametrize("behave", [read_forever, drip])
def test_each_wait_is_bounded(behave: Callable[[socket.socket], None]) -> None:
    started = time.monotonic()
    with serving(behave) as port:
        assert problem_of(examine_port(port, timeout=0.3)).startswith("tls-")
    assert time.monotonic() - started < 10
