"""TLS in the backend itself: Mozilla's server-side guideline 6.0 (2026-04-06), "intermediate".

https://wiki.mozilla.org/Security/Server_Side_TLS. Python cannot set key-exchange groups: openssl.cnf does.
"""

import ssl
from contextlib import suppress
from pathlib import Path

from wss.config.environment import SettingError
from wss.connection.connection import Connection

# Files in the directory that the certificate service publishes. The last two exist only if clients need a certificate.
SERVER_CERTIFICATE = "server.pem"
SERVER_KEY = "server.key"
CLIENT_CA = "client-ca.pem"
CLIENT_CRL = "client-crl.pem"


def server_context(directory: Path, *, modern: bool = False) -> ssl.SSLContext:
    """Return a server context with the certificate and key in the directory; `modern`: without TLS 1.2.

    If the directory has CLIENT_CA, the context requests a client certificate: clients may omit it, but an invalid one
    fails the handshake. Raises SettingError if certificate and key cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if modern else ssl.TLSVersion.TLSv1_2
    # For TLS 1.2: only forward secrecy and AEAD. The default suites of TLS 1.3 are good.
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    # All suites are good, and the client knows whether it has AES in hardware.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options |= ssl.OP_NO_RENEGOTIATION
    # As in the proxies: a resumed handshake sends another ticket. The default of two costs 4 % of a handshake.
    context.num_tickets = 1
    # WebSocket over HTTP/2 (RFC 8441) is not supported.
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(directory / SERVER_CERTIFICATE, directory / SERVER_KEY)
        if (directory / CLIENT_CA).exists():
            context.verify_mode = ssl.CERT_OPTIONAL
            context.load_verify_locations(directory / CLIENT_CA)
        if (directory / CLIENT_CRL).exists():
            context.load_verify_locations(directory / CLIENT_CRL)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    except OSError as error:
        raise SettingError(
            f"TLS_DIR={str(directory)!r}: {SERVER_CERTIFICATE} and {SERVER_KEY} cannot be used ({error})."
            " Run `docker compose logs certs` to see what is wrong with the certificate"
        ) from None
    return context


def expiry(context: ssl.SSLContext, directory: Path, name: str) -> float:
    """Return when the certificate of the context expires, in seconds since 1970.

    A handshake in memory gets it, with a client that trusts only the certificate in the directory. Raises SettingError
    if this client rejects the certificate for the host name.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(directory / SERVER_CERTIFICATE)
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
            " Run `docker compose logs certs` to see what is wrong with the certificate"
        ) from None
    certificate = ends[0].getpeercert()
    assert certificate
    return ssl.cert_time_to_seconds(str(certificate["notAfter"]))


def tls_session(connection: Connection) -> ssl.SSLObject | None:
    """Return the TLS session of a client (`version()`, `cipher()`, …), or None where TLS ends at a proxy before us."""
    session: ssl.SSLObject | None = connection.transport.get_extra_info("ssl_object")
    return session
