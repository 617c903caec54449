"""`python -m wss.health`: exit code 0 if the server of this container answers, over TLS where it serves TLS.

TLS is verified: the published certificate itself is the trust anchor, and it must fit the name.
"""

import os
import socket
import ssl
import sys

from wss.handshake import HEALTH_PATH
from wss.settings import Settings, read_settings

TIMEOUT = 3.0  # seconds


def status_line(settings: Settings) -> str:
    """Return the first line of the answer on the health path; raises OSError where there is none."""
    name = min(settings.domain)
    host = f"[{name}]" if ":" in name else name
    with (
        socket.create_connection(("127.0.0.1", settings.port), timeout=TIMEOUT) as plain,
        _secured(plain, name, settings) as connection,
        connection.makefile("rwb") as stream,
    ):
        stream.write(f"GET {HEALTH_PATH} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        stream.flush()
        return stream.readline().decode("ascii", "replace").strip()


def _secured(plain: socket.socket, name: str, settings: Settings) -> socket.socket:
    if settings.tls is None:
        return plain
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(settings.tls / "server.pem")
    return context.wrap_socket(plain, server_hostname=name)


if __name__ == "__main__":
    try:
        answer = status_line(read_settings(os.environ))
    except OSError as error:
        sys.exit(f"no answer: {error}")
    print(answer)
    sys.exit(" 200 " not in answer)
