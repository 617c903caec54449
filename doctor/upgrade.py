"""The sixth check: does the HTTP handshake open a WebSocket?"""

from collections.abc import Iterator

from websockets.exceptions import InvalidHeader, InvalidMessage, InvalidUpgrade, NegotiationError

from doctor.context import Context
from doctor.finding import Finding, good, problem, warning
from doctor.http_status import status_problem
from doctor.probe_connection import ProbeConnection
from doctor.tls import alert_of, client_certificate_problem, is_about_client_certificate


class HandshakeFailedError(Exception):
    """The server answered, but did not open a WebSocket; `finding` has the cause."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.saw)
        self.finding = finding


def open_websocket(context: Context) -> ProbeConnection:
    """Return an open WebSocket; raises HandshakeFailedError if the server refuses it, OSError as sockets do."""
    connection = ProbeConnection(context)
    if connection.handshake_error:
        with connection:
            raise HandshakeFailedError(_handshake_problem(context, connection, connection.handshake_error))
    return connection


def check_upgrade(context: Context) -> Iterator[Finding]:
    """Does the server switch to the WebSocket protocol (RFC 6455 section 4)?"""
    try:
        with open_websocket(context) as connection:
            yield good(f"101, subprotocol: {connection.subprotocol or 'none'}")
            if context.options.subprotocols and not connection.subprotocol:
                yield warning(
                    "upgrade-subprotocol",
                    f"the server chose none of {', '.join(context.options.subprotocols)}",
                    "browsers close a connection if the server does not choose one of the offered subprotocols",
                    "Make the server support it (this stack: SUBPROTOCOLS), or do not offer it",
                )
    except TimeoutError:
        yield problem(
            "upgrade-silent",
            f"no answer to the handshake within {context.options.timeout:g} s",
            "the backend hangs or is overloaded, or a proxy waits for it",
            "Check the backend's log and load, and whether a proxy in between buffers or inspects requests",
        )
    except OSError as error:
        yield _cut(context, error)


def _cut(context: Context, error: OSError) -> Finding:
    alert = alert_of(error) or _alert_after_handshake(context)
    if is_about_client_certificate(alert):
        return client_certificate_problem(alert)
    of_client = "the server refuses this client certificate, and closes without an alert; or "
    return problem(
        "upgrade-cut",
        f"the connection ended without an answer ({alert or error.strerror or error})",
        f"{of_client if context.options.client_cert else ''}the backend crashed, or a firewall or balancer in between"
        " blocks WebSockets",
        "Check the backend's log; connect to it directly, bypassing firewalls and balancers",
    )


def _alert_after_handshake(context: Context) -> str:
    """In TLS 1.3, an alert about the client certificate may follow the handshake (RFC 8446 section 4.4.2.4).

    If the client sends data at once, a reset may arrive before it reads the alert.
    """
    try:
        with context.open_tls() as connection:
            connection.do_handshake()
            connection.recv(1)
    except OSError as error:
        return alert_of(error)
    return ""


def _handshake_problem(context: Context, connection: ProbeConnection, error: Exception) -> Finding:
    response = connection.response
    if response is None:
        return problem(
            "upgrade-no-http",
            f"the answer is not HTTP ({error.__cause__ or error})",
            "TLS works, but the service behind it is not a web server; a balancer in TCP mode may forward to the wrong"
            " one",
            "Check the port",
        )
    if response.status_code != 101:
        return status_problem(context, response)
    if isinstance(error, InvalidHeader) and error.name.lower() == "sec-websocket-accept":
        return problem(
            "upgrade-accept",
            f"101 with a wrong Sec-WebSocket-Accept ({error.value or 'none'})",
            "this is not the answer to this handshake: the server does not use a WebSocket library, or a cache answers"
            " for it",
            "Use a WebSocket library on the server; disable caching for this path",
        )
    if isinstance(error, (InvalidHeader, InvalidUpgrade)):
        return problem(
            "upgrade-headers",
            f"101 without its required headers ({error})",
            "a proxy in between removed Upgrade or Connection from the answer, or the server does not use a WebSocket"
            " library",
            "Connect directly, bypassing any proxy; use a WebSocket library on the server",
        )
    if isinstance(error, InvalidMessage):
        return problem(
            "upgrade-malformed",
            f"101, but malformed ({error.__cause__ or error})",
            "the server does not use a WebSocket library, or a proxy in between rewrote the answer; or it exceeds the"
            " limits of clients other than browsers: 128 headers of 8 KB",
            "Use a WebSocket library on the server; connect directly, bypassing any proxy; send fewer and shorter"
            " headers",
        )
    what = "subprotocol or extension" if isinstance(error, NegotiationError) else "handshake"
    return problem(
        "upgrade-negotiation",
        f"101 with a {what} that was not requested ({error})",
        "clients must close such a connection (RFC 6455 section 4.1)",
        "Make the server choose from what the client offers; offer what it requires with --subprotocol",
    )
