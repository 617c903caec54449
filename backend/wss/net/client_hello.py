"""The ClientHello, the first record of a TLS handshake, as bytes: its server name, and the alert that rejects it."""

import ssl

# RFC 8446 sections 5.1 and 4: bytes before the ClientHello. RFC 6066 section 3: the number of the extension.
_RECORD_HEADER, _HANDSHAKE_HEADER = 5, 4
_SERVER_NAME = 0


def server_name(client_hello: bytes) -> str | None:
    """Return the server name (SNI, RFC 6066 section 3) in the first record of a ClientHello, in lower case.

    None if there is none, or if it cannot be parsed: then the Host header decides. Python's sni_callback cannot be
    used: it needs Python's SSL object, which aiofastnet does not create (the process would crash).
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
                names.take(1)  # the type: host_name is the only one
                return names.vector(2).decode("ascii", "backslashreplace").lower()
    except EOFError:
        pass
    return None


class _Reader:
    """Reads numbers and length-prefixed vectors (RFC 8446 section 3); raises EOFError if the data is too short."""

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


def alert_for(context: ssl.SSLContext, client_hello: bytes) -> bytes:
    """Return the alert that rejects this ClientHello, or b"" if it is acceptable."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(client_hello)
    try:
        context.wrap_bio(incoming, outgoing, server_side=True).do_handshake()
    except ssl.SSLWantReadError:
        return b""
    except ssl.SSLError:
        pass  # the alert is in `outgoing`
    return outgoing.read()
