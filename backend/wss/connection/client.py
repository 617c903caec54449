"""What a handler may ask about the client of a connection; of its TLS, see wss.net.tls."""

from wss.connection.connection import Connection
from wss.handshake.client_certificate import ClientCertificate
from wss.handshake.forwarded import normalize_address


def peer_address(connection: Connection) -> str:
    """Return the address of whoever opened the TCP connection: the client, or the proxy before us."""
    return normalize_address(connection.remote_address[0])


def client_certificate(connection: Connection) -> ClientCertificate | None:
    """Return subject, serial number and issuer of the client's certificate; None where CLIENT_CA asks for none."""
    return connection.certificate


def client_address(connection: Connection) -> str:
    """Return the client's address: what X-Real-IP says where the peer is one of TRUSTED_PROXIES, else the peer's."""
    return connection.client
