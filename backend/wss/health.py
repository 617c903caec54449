"""`python -m wss.health`: exit code 0 if the server of this container answers, over TLS where it serves TLS.

TLS is verified: the published certificate itself is the trust anchor, and it must fit the name.
"""

import os
import socket
import ssl
import sys
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException

from wss.handshake import HEALTH_PATH
from wss.settings import Settings, read_settings

TIMEOUT = 3.0  # seconds


def ask(settings: Settings) -> tuple[int, str]:
    """Return status and text of the answer on the health path; raises OSError where there is none."""
    name = min(settings.domain)
    host = f"[{name}]" if ":" in name else name
    with socket.create_connection(("127.0.0.1", settings.port), timeout=TIMEOUT) as plain:
        connection = HTTPConnection(host)
        connection.sock = _secured(plain, name, settings)
        with closing(connection):
            connection.request("GET", HEALTH_PATH)
            response = connection.getresponse()
            return response.status, response.read().decode("ascii", "replace").strip()


def _secured(plain: socket.socket, name: str, settings: Settings) -> socket.socket:
    if settings.tls is None:
        return plain
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(settings.tls / "server.pem")
    return context.wrap_socket(plain, server_hostname=name)


if __name__ == "__main__":
    try:
        status, text = ask(read_settings(os.environ))
    except (OSError, HTTPException) as error:
        sys.exit(f"no answer: {error}")
    print(status, text)
    sys.exit(status != HTTPStatus.OK)
