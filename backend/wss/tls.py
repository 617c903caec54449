"""TLS in the backend itself: Mozilla's server-side guideline 6.0 (2026-04-06), "intermediate".

https://wiki.mozilla.org/Security/Server_Side_TLS. Key-exchange groups cannot be set from Python: openssl.cnf does it.
"""

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from picows.websockets import ServerConnection

from wss.settings import SettingError


def server_context(directory: Path) -> ssl.SSLContext:
    """Return the context that serves ``server.pem`` with ``server.key`` of the directory.

    Raises SettingError where the pair cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # For TLS 1.2: forward secrecy and AEAD only. The suites of TLS 1.3 need no choosing.
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    # The client knows whether it has AES in hardware, and all suites offered are good.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options |= ssl.OP_NO_RENEGOTIATION
    # WebSocket over HTTP/2 (RFC 8441) is not spoken here.
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(directory / "server.pem", directory / "server.key")
    except OSError as error:
        raise SettingError(
            f"TLS_DIR={str(directory)!r}: server.pem and server.key cannot be used ({error})."
            " Run `docker compose logs certs`: it says what is wrong with the certificate"
        ) from None
    return context


class ServerNameReader:
    """Reads the server name (SNI, RFC 6066 section 3) from a ClientHello.

    OpenSSL parses it, on a context of its own: the callback of the serving context cannot be used, because
    aiofastnet makes its SSL objects without Python's wrapper, which that callback needs (it crashes).
    """

    def __init__(self) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.sni_callback = self._note
        self._name: str | None = None

    def _note(self, _connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int:
        self._name = name
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME  # this handshake ends here

    def read(self, client_hello: bytes) -> str | None:
        """Return the name in lower case, or None where the client names none."""
        incoming = ssl.MemoryBIO()
        incoming.write(client_hello)
        self._name = None
        # By design it fails: _note refuses every name, and what is no ClientHello fails in the real handshake too.
        with suppress(ssl.SSLError):
            self._context.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True).do_handshake()
        return self._name.lower() if self._name else None


def refusal(context: ssl.SSLContext, client_hello: bytes) -> bytes:
    """Return the alert by which this ClientHello is refused, or nothing where it is acceptable."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(client_hello)
    try:
        context.wrap_bio(incoming, outgoing, server_side=True).do_handshake()
    except ssl.SSLWantReadError:
        return b""
    except ssl.SSLError:
        pass  # what it would tell the client is in `outgoing`
    return outgoing.read()


# By the peer's address and port, which no two open connections share: picows shows a handler no more of its transport.
_transports: WeakValueDictionary[Any, asyncio.BaseTransport] = WeakValueDictionary()


def remember(transport: asyncio.BaseTransport) -> None:
    """Let `tls_session` find the TLS session of this transport for as long as it is open."""
    _transports[transport.get_extra_info("peername")] = transport


def tls_session(connection: ServerConnection) -> ssl.SSLObject | None:
    """Return the TLS session of a client (`version()`, `cipher()`, …), or None where TLS ends at a proxy before us."""
    transport = _transports.get(connection.remote_address)
    return transport.get_extra_info("ssl_object") if transport else None
