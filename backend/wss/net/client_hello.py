"""The first record of a TLS handshake, as bytes: the server name in it, and why it would be refused."""

import ssl

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
