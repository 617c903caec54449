"""A port of this machine for a server that starts later, or starts again on the same port."""

import secrets
import socket
from contextlib import suppress

# Below the ports that Linux gives to clients and Docker to `0` (from 32,768 on): nobody takes it meanwhile.
FIRST, LAST = 20_000, 32_000


def free_port() -> int:
    """Return a port on which nothing listens now, and which nobody gets who does not ask for it."""
    while True:
        port = FIRST + secrets.randbelow(LAST - FIRST)
        with socket.socket() as attempt, suppress(OSError):
            attempt.bind(("", port))
            return port
