"""What a close code means, and whether it is a problem."""

from doctor.finding import Finding, Severity, problem
from doctor.probe_connection import ProbeConnection

ABNORMAL_CLOSURE = 1006  # no close frame was received (RFC 6455 section 7.1.5)

# RFC 6455 section 7.4.1 and https://www.iana.org/assignments/websocket/
CLOSE_CODES = {
    1000: "normal closure: the server has finished",
    1001: "going away: the server stops",
    1002: "the server reports a protocol error; or a proxy in between alters the data",
    1003: "the server does not accept this type of message",
    ABNORMAL_CLOSURE: "the connection ended without a close frame",
    1007: "the server reports that the text is invalid",
    1008: "the server's policy forbids this: often, the client is not authenticated",
    1009: "the message exceeds the server's limit",
    1011: "the server's handler failed",
    1012: "the server restarts",
    1013: "the server is overloaded",
}
REMEDIES = {
    ABNORMAL_CLOSURE: "Check the server's log: it crashed, or a proxy in between broke the connection",
    1008: "Authenticate: --header 'Authorization: …', --header 'Cookie: …', --origin https://…",
    1009: "Send shorter messages, or raise the limit (this stack: MAX_MESSAGE; with UPSTREAM: your server's own)",
    1011: "Check the traceback of the handler: docker compose logs backend (with UPSTREAM: your server's log)",
}


def meaning(code: int) -> str:
    return CLOSE_CODES.get(code, "a code that the application defines" if code >= 3000 else "an unusual code")


def code_and_reason(connection: ProbeConnection) -> str:
    if connection.close_reason:
        return f"{connection.close_code} ({connection.close_reason})"
    return f"{connection.close_code}"


def unprompted_close(connection: ProbeConnection) -> Finding:
    """No message caused this close, so it is always a problem."""
    code = connection.close_code
    return _violation(connection, "not caused by a message") or problem(
        f"close-{code}",
        f"not caused by a message: closed with {code_and_reason(connection)}",
        meaning(code),
        REMEDIES.get(code, "Check the server's log"),
    )


def close_after(connection: ProbeConnection, what: str) -> Finding:
    if violation := _violation(connection, what):
        return violation
    code = connection.close_code
    # A server may reject the doctor's messages with these codes, and still work for its own clients.
    is_about_message = code in (1000, 1003, 1007, 1008, 1009) or code >= 3000
    other_message = "Give a message that it accepts: --message TEXT, --subprotocol NAME; or omit --messages"
    return Finding(
        Severity.WARNING if is_about_message else Severity.PROBLEM,
        f"message-{code}",
        f"{what}: closed with {code_and_reason(connection)}",
        meaning(code),
        REMEDIES.get(code, other_message if is_about_message else "Check the server's log"),
    )


def _violation(connection: ProbeConnection, what: str) -> Finding | None:
    if not connection.violation:
        return None
    return problem(
        "violation",
        f"{what}: the server's data violates RFC 6455 ({connection.violation})",
        "clients must close such a connection: the server does not use a WebSocket library, or a proxy in between"
        " alters the data",
        "Use a WebSocket library on the server; connect directly, bypassing any proxy",
    )
