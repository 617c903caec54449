"""The doctor's fourth check: ports without TLS, and servers with faulty or obsolete TLS."""

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
from eventually import LIMIT
from faulty_servers import NAME, examine_port, read_all, read_head_and_close, serving


@pytest.fixture(scope="module")
def leaf() -> trustme.LeafCert:
    return trustme.CA().issue_cert(NAME, key_type=trustme.KeyType.RSA)


def _context(leaf: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    return context


@pytest.fixture
def web_server() -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_web_server_without_tls_is_named(web_server: int) -> None:
    assert problem_of(examine_port(web_server)) == "tls-plain-http"


def test_a_websocket_server_without_tls_is_named() -> None:
    def echo(connection: websockets.sync.server.ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    with websockets.sync.server.serve(echo, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert problem_of(examine_port(server.socket.getsockname()[1])) == "tls-plain-ws"
        server.shutdown()


def test_a_server_that_sends_nothing_is_a_problem() -> None:
    with serving(read_all) as port:
        assert problem_of(examine_port(port)) == "tls-silent"


def test_a_server_that_closes_in_the_handshake_is_a_problem() -> None:
    with serving(lambda connection: connection.close()) as port:
        assert problem_of(examine_port(port)) == "tls-closed"


def test_a_server_of_another_protocol_is_named() -> None:
    with serving(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_10.0\r\n")) as port:
        assert problem_of(examine_port(port)) == "tls-other"


def test_a_server_without_a_common_cipher_is_a_problem(leaf: trustme.LeafCert) -> None:
    context = _context(leaf)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-GCM-SHA256")  # without forward secrecy
    with serving(read_head_and_close, context) as port:
        assert problem_of(examine_port(port)) == "tls-refused"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_only_obsolete_versions_are_a_problem(leaf: trustme.LeafCert) -> None:
    context = _context(leaf)
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with serving(read_head_and_close, context) as port:
        assert problem_of(examine_port(port)) == "tls-obsolete-only"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_obsolete_versions_beside_current_ones_are_a_warning(leaf: trustme.LeafCert) -> None:
    context = _context(leaf)
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ALL:@SECLEVEL=0")
    with serving(read_head_and_close, context) as port:
        assert {"tls-obsolete", "tls-no-1.3"} <= warnings_of(examine_port(port))


def test_a_server_without_tls_1_2_and_post_quantum_groups_gets_both_warnings(leaf: trustme.LeafCert) -> None:
    context = _context(leaf)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_ecdh_curve("prime256v1")
    with serving(read_head_and_close, context) as port:
        assert {"tls-no-1.2", "tls-no-post-quantum"} <= warnings_of(examine_port(port))


def drip(connection: socket.socket) -> None:
    """Send a long record one byte at a time, each within the timeout."""
    connection.settimeout(0.1)
    for byte in itertools.chain(b"\x16\x03\x03\x40\x00", itertools.repeat(2)):
        with suppress(TimeoutError):
            while connection.recv(65536):
                pass
        connection.sendall(bytes([byte]))


@pytest.mark.parametrize("behave", [read_all, drip])
def test_each_wait_has_a_timeout(behave: Callable[[socket.socket], None]) -> None:
    started = time.monotonic()
    with serving(behave) as port:
        assert problem_of(examine_port(port, timeout=0.3)).startswith("tls-")
    assert time.monotonic() - started < LIMIT
