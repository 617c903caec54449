"""What the checks share: the user's options, and the results of earlier checks."""

import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult

from cryptography import x509


@dataclass(frozen=True)
class Options:
    """The options of the command line."""

    origin: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    subprotocols: tuple[str, ...] = ()
    ca: Path | None = None
    """Trusted instead of the system's CAs."""
    client_cert: Path | None = None
    client_key: Path | None = None
    """None: client_cert contains the key."""
    resolve: tuple[tuple[str, int, str], ...] = ()
    """(name, port, address): used instead of a DNS lookup."""
    messages: bool = False
    """Send a text message, a binary one and a long one. By default no message reaches the application."""
    message: str | None = None
    """Text to send; it replaces the text of `messages`."""
    idle: float = 0.0
    """Seconds to keep a connection idle; 0: no idle check."""
    timeout: float = 5.0
    """Seconds for each wait."""


@dataclass
class Context:
    """The target, as far as the checks have found out."""

    url: SplitResult
    options: Options
    addresses: list[str] = field(default_factory=list)
    """All addresses of the name."""
    address: str = ""
    """The first one that accepts connections."""
    verify_error: ssl.SSLCertVerificationError | None = None
    """Why the certificate was refused; None: it was accepted."""
    chain: list[x509.Certificate] = field(default_factory=list)
    """What the server sent, leaf first."""

    @property
    def host(self) -> str:
        # The trailing dot of a fully qualified name is for the DNS only: certificates and servers do not use it.
        return (self.url.hostname or "").removesuffix(".")

    @property
    def port(self) -> int:
        return self.url.port or 443

    @property
    def path(self) -> str:
        return self.url.path or "/"

    @property
    def endpoint(self) -> str:
        """Return `address:port`."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def ssl_context(self) -> ssl.SSLContext:
        """Return a context that verifies the certificate, as every connection of the doctor does."""
        context = ssl.create_default_context(cafile=self.options.ca)
        # Python 3.13 refuses some certificates that other clients accept: certificate.py checks that separately. Other
        # clients do not accept an intermediate in the CA file as a trust anchor.
        context.verify_flags &= ~(ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN)
        # As browsers: RFC 9525 section 2.
        context.hostname_checks_common_name = False
        context.set_alpn_protocols(["http/1.1"])
        if self.options.client_cert:
            context.load_cert_chain(self.options.client_cert, self.options.client_key)
        return context

    def open_tcp(self, address: str | None = None) -> socket.socket:
        return socket.create_connection((address or self.address, self.port), timeout=self.options.timeout)

    def open_tls(self, ssl_context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """Return a connection before its handshake, so that the caller can inspect it if the handshake fails."""
        connection = self.open_tcp()
        try:
            return (ssl_context or self.ssl_context()).wrap_socket(
                connection, server_hostname=self.host, do_handshake_on_connect=False
            )
        except BaseException:
            connection.close()
            raise
