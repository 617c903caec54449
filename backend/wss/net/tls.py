"""TLS in the backend itself: Mozilla's server-side guideline 6.0 (2026-04-06), "intermediate".

https://wiki.mozilla.org/Security/Server_Side_TLS. Key-exchange groups cannot be set from Python: openssl.cnf does it.
"""

import ssl
from contextlib import suppress
from pathlib import Path

from wss.config.settings import SettingError
from wss.connection.connection import Connection

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


def tls_session(connection: Connection) -> ssl.SSLObject | None:
    """Return the TLS session of a client (`version()`, `cipher()`, …), or None where TLS ends at a proxy before us."""
    session: ssl.SSLObject | None = connection.transport.get_extra_info("ssl_object")
    return session
