"""TLS in the backend itself: Mozilla's server-side guideline 6.0 (2026-04-06), "intermediate".

https://wiki.mozilla.org/Security/Server_Side_TLS. Key-exchange groups cannot be set from Python: openssl.cnf does it.
"""

import ssl
from contextlib import suppress
from pathlib import Path

from wss.connection import Connection
from wss.settings import SettingError

# Beside the pair, where clients need a certificate of their own.
CLIENT_CA = "client-ca.pem"
CLIENT_CRL = "client-crl.pem"


def server_context(directory: Path, *, modern: bool = False) -> ssl.SSLContext:
    """Return the context that serves ``server.pem`` with ``server.key`` of the directory; `modern`: without TLS 1.2.

    With ``client-ca.pem`` it asks clients for a certificate, which they may leave out, but not forge.
    Raises SettingError where the pair cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if modern else ssl.TLSVersion.TLSv1_2
    # For TLS 1.2: forward secrecy and AEAD only. The suites of TLS 1.3 need no choosing.
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    # The client knows whether it has AES in hardware, and all suites offered are good.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options |= ssl.OP_NO_RENEGOTIATION
    # WebSocket over HTTP/2 (RFC 8441) is not spoken here.
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(directory / "server.pem", directory / "server.key")
        if (directory / CLIENT_CA).exists():
            context.verify_mode = ssl.CERT_OPTIONAL
            context.load_verify_locations(directory / CLIENT_CA)
        if (directory / CLIENT_CRL).exists():
            context.load_verify_locations(directory / CLIENT_CRL)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    except OSError as error:
        raise SettingError(
            f"TLS_DIR={str(directory)!r}: server.pem and server.key cannot be used ({error})."
            " Run `docker compose logs certs`: it says what is wrong with the certificate"
        ) from None
    return context


def expiry(context: ssl.SSLContext, directory: Path, name: str) -> float:
    """Return when the certificate that the context serves expires, in seconds since 1970.

    A client in memory looks at it, which trusts nothing but ``server.pem`` of the directory. Raises SettingError where
    it refuses the certificate for the name.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(directory / "server.pem")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname=name),
        context.wrap_bio(to_server, to_client, server_side=True),
    )
    try:
        for end in (*ends, *ends):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    except ssl.SSLError as error:
        raise SettingError(
            f"TLS_DIR={str(directory)!r}: clients will refuse the certificate for {name} ({error})."
            " Run `docker compose logs certs`: it says what is wrong with the certificate"
        ) from None
    certificate = ends[0].getpeercert()
    assert certificate
    return ssl.cert_time_to_seconds(str(certificate["notAfter"]))


# RFC 8446 sections 5.1 and 4: bytes before the ClientHello. RFC 6066 section 3: the number of the extension.
_RECORD_HEADER, _HANDSHAKE_HEADER = 5, 4
_SERVER_NAME = 0


def server_name(client_hello: bytes) -> str | None:
    """Return the server name (SNI, RFC 6066 section 3) in the first record of a ClientHello, in lower case.

    None where there is none, or no way to read it: the request's Host still decides then. Python's own callback for
    it cannot be used: aiofastnet makes its SSL objects without Python's wrapper, which the callback needs (it crashes).
    """
    try:
        fields = _Reader(client_hello[_RECORD_HEADER + _HANDSHAKE_HEADER :])
        fields.take(2 + 32)  # version, random
        fields.vector(1)  # session
        fields.vector(2)  # cipher suites
        fields.vector(1)  # compression
        extensions = _Reader(fields.vector(2))
        while extensions.rest:
            number, body = extensions.number(2), extensions.vector(2)
            if number == _SERVER_NAME:
                names = _Reader(_Reader(body).vector(2))
                names.take(1)  # host_name is the only type there is
                return names.vector(2).decode("ascii", "backslashreplace").lower()
    except EOFError:
        pass
    return None


class _Reader:
    """Takes numbers and length-prefixed vectors off the front (RFC 8446 section 3); EOFError where they do not fit."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def take(self, size: int) -> bytes:
        if len(self.rest) < size:
            raise EOFError
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, length_size: int) -> bytes:
        return self.take(self.number(length_size))


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


def tls_session(connection: Connection) -> ssl.SSLObject | None:
    """Return the TLS session of a client (`version()`, `cipher()`, …), or None where TLS ends at a proxy before us."""
    session: ssl.SSLObject | None = connection.ws_transport.underlying_transport.get_extra_info("ssl_object")
    return session
