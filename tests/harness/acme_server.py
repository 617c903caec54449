"""Pebble, an ACME server for tests, beside a stack, and a client that trusts nothing but its root."""

import socket
import ssl
from pathlib import Path

import trustme
import websocket
from client import TIMEOUT
from eventually import eventually
from pairs import write_pair
from stack import INNER_PORT, REPOSITORY, Stack

HARNESS = REPOSITORY / "tests" / "harness"
FILES = (REPOSITORY / "compose.yaml", REPOSITORY / "acme.yaml", HARNESS / "pebble" / "compose.yaml")


def acme_settings(ca: trustme.CA, directory: Path) -> dict[str, str]:
    """Write what the stack and Pebble need into a directory; return the settings."""
    certs, pebble = directory / "certs", directory / "pebble"
    for each in (certs, pebble):
        each.mkdir()
    ca.cert_pem.write_to_path(certs / "acme-root.pem")
    write_pair(ca.issue_cert("pebble", "localhost"), pebble)
    for path in (pebble, *pebble.iterdir()):
        path.chmod(0o755)
    return {
        "CERTS_DIR": str(certs),
        "PEBBLE_DIR": str(pebble),
        "ACME_DIRECTORY": "https://pebble:14000/dir",
        "ACME_CA": "acme-root.pem",
        "ACME_EMAIL": "operator@wss.example",
        "ACME_RETRY": "1",
        "HTTP_PORT": "127.0.0.1:0",
    }


def published(stack: Stack, service: str, port: int) -> int:
    """Return the port of this machine on which a service's port is published."""
    bindings = stack.container(service).ports[f"{port}/tcp"] or []
    return next(int(binding["HostPort"]) for binding in bindings)


def trust(stack: Stack, ca_file: Path) -> ssl.SSLContext:
    """Return a client's context that trusts nothing but the ACME server's root of this very run."""
    context = ssl.create_default_context(cafile=ca_file)

    def root() -> str:
        with _open(published(stack, "pebble", 15000), context, "localhost") as tls:
            tls.sendall(b"GET /roots/0 HTTP/1.0\r\nHost: localhost\r\n\r\n")
            answer = b"".join(iter(lambda: tls.recv(65536), b""))
        return answer.partition(b"\r\n\r\n")[2].decode()

    # Docker publishes the port before Pebble listens: it accepts, and resets.
    return ssl.create_default_context(cadata=eventually(root, "Pebble returns its root"))


def connect(stack: Stack, context: ssl.SSLContext, name: str) -> tuple[websocket.WebSocket, str]:
    """Return a websocket to a name that the certificate has to cover, and the serial number of the certificate."""
    tls = _open(published(stack, stack.profile, INNER_PORT[stack.profile]), context, name)
    certificate = tls.getpeercert()
    assert certificate
    ws = websocket.create_connection(f"wss://{name}/wss", socket=tls, timeout=TIMEOUT, suppress_origin=True)
    return ws, str(certificate["serialNumber"])


def _open(port: int, context: ssl.SSLContext, name: str) -> ssl.SSLSocket:
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT), server_hostname=name)


def health(stack: Stack) -> str:
    """Return what the certificate service last reported to Docker."""
    container = stack.container("certs")
    container.reload()
    return str(container.attrs["State"]["Health"]["Log"][-1]["Output"])
