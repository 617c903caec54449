"""The last checks: do messages arrive, and does an idle connection stay open?"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from websockets.frames import Opcode

from doctor.context import Context
from doctor.finding import Finding, Severity, good, problem, warning
from doctor.probe_connection import ProbeConnection
from doctor.upgrade import open_websocket

LONG_MESSAGE = 1 << 20  # bytes
DATA = (Opcode.TEXT, Opcode.BINARY)
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

# Common default limits, in seconds.
IDLE_TIMEOUTS = {
    30: "Apache: a Timeout or ProxyTimeout of 30 s; this stack, if the backend does not ping",
    55: "Heroku: 55 s",
    60: "nginx: proxy_read_timeout (60 s by default); AWS ALB: idle timeout; Apache: Timeout",
    100: "Cloudflare: no traffic for 100 s",
    120: "a home router or a mobile network",
    240: "Azure: TCP idle timeout of a load balancer",
    300: "Apache: Timeout or ProxyTimeout of 300 s",
    350: "AWS NLB: 350 s",
    600: "Google Cloud: 600 s",
}


def check_messages(context: Context) -> Iterator[Finding]:
    """Send a ping, a text message, a binary one, a close frame; then a long message on a second connection."""
    text = context.options.message
    with open_websocket(context) as connection:
        yield from _ping(context, connection)
        if not connection.is_open:
            yield _unprompted_close(connection)
        if text is not None:
            yield from _send(context, connection, "text", repr(text), lambda: connection.send_text(text))
            yield from _send(context, connection, "binary", "3 bytes", lambda: connection.send_binary(b"\x00\x01\xff"))
        yield from _close(connection)
    if text is not None:
        with open_websocket(context) as connection:
            yield from _send_long(context, connection)


def check_idle(context: Context) -> Iterator[Finding]:
    """Send no data for the requested time, and report whether the connection stays open."""
    seconds = context.options.idle
    with open_websocket(context) as connection:
        started, pings = time.monotonic(), 0
        last_frame = started
        while connection.is_open and (left := started + seconds - time.monotonic()) > 0:
            if frame := connection.receive(*Opcode, seconds=left):
                last_frame = time.monotonic()
                pings += frame.opcode is Opcode.PING
        lasted, quiet = time.monotonic() - started, time.monotonic() - last_frame
        if connection.is_open:
            yield good(f"open for {lasted:.0f} s; {pings} pings received")
        elif connection.close_code != ABNORMAL_CLOSURE:
            yield problem(
                "idle-closed",
                f"the server closed after {lasted:.0f} s with {_code_and_reason(connection)}",
                _meaning(connection.close_code),
                "Check the backend's log; clients should reconnect after a random delay",
            )
        else:
            yield _idle_cut(lasted, quiet)


def _idle_cut(lasted: float, quiet: float) -> Finding:
    cause = next(
        (name for limit, name in IDLE_TIMEOUTS.items() if abs(quiet - limit) <= max(1.5, limit * 0.03)),
        "a device on the network path closes idle connections",
    )
    return problem(
        "idle-cut",
        f"connection lost after {lasted:.0f} s, without a close frame",
        f"{quiet:.0f} s without traffic: {cause}",
        "Make the server ping more often (this stack: PING_INTERVAL, 20 s), or raise the limit: nginx"
        " proxy_read_timeout and proxy_send_timeout, Apache Timeout and ProxyTimeout, the balancer's idle timeout",
    )


def _ping(context: Context, connection: ProbeConnection) -> Iterator[Finding]:
    started = time.monotonic()
    if connection.await_pong():
        yield good(f"pong after {_milliseconds(started)}")
    elif connection.is_open:
        yield problem(
            "message-no-pong",
            f"no pong within {context.options.timeout:g} s",
            "every WebSocket must answer a ping (RFC 6455 section 5.5.2): the server hangs or does not support"
            " WebSocket; or a proxy in between forwards the handshake, but not the frames after it",
            "Check the backend's log and load; connect directly, bypassing any proxy",
        )
    else:
        yield _unprompted_close(connection)


def _send(
    context: Context, connection: ProbeConnection, kind: str, what: str, send: Callable[[], None]
) -> Iterator[Finding]:
    if not connection.is_open:
        return
    started = time.monotonic()
    send()
    reply = connection.receive(*DATA)
    if reply:
        yield good(f"{what}: received a message after {_milliseconds(started)}")
    if not connection.is_open:
        yield _close_finding(connection, what)
    elif not reply:
        yield warning(
            f"message-no-reply-{kind}",
            f"{what}: no reply within {context.options.timeout:g} s",
            "this may be correct: not every handler replies",
            "If it should reply: docker compose logs backend; or send a message that it replies to: --message TEXT",
        )


def _send_long(context: Context, connection: ProbeConnection) -> Iterator[Finding]:
    """A pong after the message proves that the server accepted it; a reply may be to something else."""
    what, started = "1 MiB of text", time.monotonic()
    connection.send_text("x" * LONG_MESSAGE)
    if connection.await_pong():
        yield good(f"{what}: accepted after {_milliseconds(started)}")
    elif connection.is_open:
        yield warning(
            "message-slow",
            f"{what}: no pong within {context.options.timeout:g} s after it",
            "the network is slow, or the server is so busy with this message that it answers nothing else",
            "Allow more time: --timeout 30; check the backend's load",
        )
    else:
        yield _close_finding(connection, what)


def _close(connection: ProbeConnection) -> Iterator[Finding]:
    if not connection.is_open:
        return
    connection.close()
    connection.receive()
    if connection.close_code in (1000, 1005):  # 1005: a close frame without a code is a valid answer
        yield good("closed with 1000")
    elif connection.close_code != ABNORMAL_CLOSURE:
        yield _unprompted_close(connection)
    else:
        yield warning(
            "message-close",
            "the server did not answer the close frame (1000) with a close frame",
            "clients treat this as a failure, and reconnect",
            "Make the server answer a close frame with one (RFC 6455 section 5.5.1); libraries do",
        )


def _unprompted_close(connection: ProbeConnection) -> Finding:
    """No message caused this close, so it is always a problem."""
    return replace(_close_finding(connection, "not caused by a message"), severity=Severity.PROBLEM)


def _close_finding(connection: ProbeConnection, what: str) -> Finding:
    if connection.violation:
        return problem(
            "message-violation",
            f"{what}: the server's data violates RFC 6455 ({connection.violation})",
            "clients must close such a connection: the server does not use a WebSocket library, or a proxy in between"
            " alters the data",
            "Use a WebSocket library on the server; connect directly, bypassing any proxy",
        )
    code = connection.close_code
    # A server may reject the doctor's messages with these codes, and still work for its own clients.
    is_about_message = code in (1000, 1003, 1007, 1008, 1009) or code >= 3000
    remedy = {
        ABNORMAL_CLOSURE: "Check the backend's log: it crashed, or a proxy in between broke the connection",
        1008: "Authenticate: --header 'Authorization: …', --header 'Cookie: …', --origin https://…",
        1009: "Send shorter messages, or raise the limit (this stack: MAX_MESSAGE)",
        1011: "Check the handler's traceback: docker compose logs backend",
    }.get(
        code,
        "Send what it accepts: --message TEXT, --subprotocol NAME; or nothing: --no-messages"
        if is_about_message
        else "Check the backend's log",
    )
    severity = Severity.WARNING if is_about_message else Severity.PROBLEM
    saw = f"{what}: closed with {_code_and_reason(connection)}"
    return Finding(severity, f"message-{code}", saw, _meaning(code), remedy)


def _meaning(code: int) -> str:
    return CLOSE_CODES.get(code, "a code that the application defines" if code >= 3000 else "an unusual code")


def _code_and_reason(connection: ProbeConnection) -> str:
    if connection.close_reason:
        return f"{connection.close_code} ({connection.close_reason})"
    return f"{connection.close_code}"


def _milliseconds(started: float) -> str:
    return f"{(time.monotonic() - started) * 1000:.1f} ms"
