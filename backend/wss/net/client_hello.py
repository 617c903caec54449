"""The ClientHello, the first record of a TLS handshake, as bytes: its server name, and the alert that rejects it."""

import ssl
import struct

# RFC 8446 sections 5.1, 4 and 4.1.2: bytes before the session id. RFC 6066 section 3: the number of the extension.
_BEFORE_SESSION_ID = 5 + 4 + 2 + 32
_SERVER_NAME = 0

_NUMBER = struct.Struct("!H")
_EXTENSION = struct.Struct("!HH")  # its number, and its size


def server_name(client_hello: bytes) -> str | None:
    """Return the server name (SNI, RFC 6066 section 3) in the first record of a ClientHello, in lower case.

    None if there is none, or if it cannot be parsed: then the Host header decides. Python's sni_callback cannot be
    used: it needs Python's SSL object, which aiofastnet does not create (the process would crash).
    """
    try:
        at = _BEFORE_SESSION_ID
        at += 1 + client_hello[at]
        at += 2 + _NUMBER.unpack_from(client_hello, at)[0]  # cipher suites
        at += 1 + client_hello[at]  # compression
        at += 2  # the size of all extensions
        while at < len(client_hello):
            number, size = _EXTENSION.unpack_from(client_hello, at)
            at += 4
            if number == _SERVER_NAME:
                at += 3  # the size of the list, and the type of the only entry: host_name
                (size,) = _NUMBER.unpack_from(client_hello, at)
                (name,) = struct.unpack_from(f"{size}s", client_hello, at + 2)
                return str(name, "ascii", "backslashreplace").lower()
            at += size
    except (IndexError, struct.error):
        pass
    return None


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
