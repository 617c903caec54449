"""What the steps know: what was asked for, and what the steps before have found on the way."""

import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult

from cryptography import x509


@dataclass(frozen=True)
class Options:
    """What the user asked for."""

    origin: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    subprotocols: tuple[str, ...] = ()
    ca: Path | None = None
    """Trusted instead of the system's CAs."""
    client_cert: Path | None = None
    client_key: Path | None = None
    """None: the key is in client_cert, too."""
    resolve: tuple[tuple[str, int, str], ...] = ()
    """(name, port, address): where DNS is not asked."""
    message: str | None = "tom"
    """None: no messages are sent."""
    idle: float = 0.0
    """Seconds to hold the line; 0: not at all."""
    timeout: float = 5.0
    """Seconds for each thing that is waited for."""


@dataclass
class Route:
    """The way as far as it is known."""

    url: SplitResult
    options: Options
    addresses: list[str] = field(default_factory=list)
    """All that the name has."""
    address: str = ""
    """The first one that answers."""
    refusal: ssl.SSLCertVerificationError | None = None
    """Why the certificate was refused, if it was."""
    chain: list[x509.Certificate] = field(default_factory=list)
    """What the server sent, leaf first."""

    @property
    def host(self) -> str:
        # The dot at the end of a whole name is for the DNS alone; neither certificates nor servers know it.
        return (self.url.hostname or "").removesuffix(".")

    @property
    def port(self) -> int:
        return self.url.port or 443

    @property
    def path(self) -> str:
        return self.url.path or "/"

    @property
    def place(self) -> str:
        """The address and port, as one writes them."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def context(self) -> ssl.SSLContext:
        """Return what a careful client trusts; every connection of the doctor is verified."""
        context = ssl.create_default_context(cafile=self.options.ca)
        # What Python 3.13 refuses and others accept is looked at by itself (certificate.py); and an intermediate in the
        # CA file is no anchor to other clients.
        context.verify_flags &= ~(ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN)
        # As browsers: RFC 9525 section 2.
        context.hostname_checks_common_name = False
        context.set_alpn_protocols(["http/1.1"])
        if self.options.client_cert:
            context.load_cert_chain(self.options.client_cert, self.options.client_key)
        return context

    def open_tcp(self, address: str | None = None) -> socket.socket:
        return socket.create_connection((address or self.address, self.port), timeout=self.options.timeout)

    def open_tls(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """Return a connection before its handshake, so that the caller sees what it gets where that fails."""
        connection = self.open_tcp()
        try:
            return (context or self.context()).wrap_socket(
                connection, server_hostname=self.host, do_handshake_on_connect=False
            )
        except BaseException:
            connection.close()
            raise
