"""With --messages or --message: does the application accept messages? By default the doctor sends none."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from websockets.frames import Opcode

from doctor.closing import ABNORMAL_CLOSURE, close_after
from doctor.context import Context
from doctor.finding import Finding, Severity, good, warning
from doctor.probe_connection import ProbeConnection
from doctor.upgrade import open_websocket

LONG_MESSAGE = 1 << 20  # bytes
DATA = (Opcode.TEXT, Opcode.BINARY)


def check_messages(context: Context) -> Iterator[Finding]:
    """Send each message on a connection of its own, because the application may close after one."""
    text, is_given = context.options.message or "tom", context.options.message is not None
    with open_websocket(context) as connection:
        close = close_after if is_given else _close_after_unknown
        yield from _send(context, connection, "text", repr(text), lambda: connection.send_text(text), close)
    if not context.options.messages:
        return
    with open_websocket(context) as connection:
        send_bytes = lambda: connection.send_binary(b"\x00\x01\xff")  # noqa: E731
        yield from _send(context, connection, "binary", "3 bytes", send_bytes, _close_after_unknown)
    with open_websocket(context) as connection:
        yield from _send_long(context, connection)


def _send(
    context: Context,
    connection: ProbeConnection,
    kind: str,
    what: str,
    send: Callable[[], None],
    close: Callable[[ProbeConnection, str], Finding],
) -> Iterator[Finding]:
    started = time.monotonic()
    send()
    reply = connection.receive(*DATA)
    if reply:
        yield good(f"{what}: received a message after {_milliseconds(started)}")
    if not connection.is_open:
        yield close(connection, what)
    elif not reply:
        yield warning(
            f"message-no-reply-{kind}",
            f"{what}: no reply within {context.options.timeout:g} s",
            "this may be correct: not every handler replies",
            "If it should reply, check the server's log; or send a message that it replies to: --message TEXT",
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
            "Allow more time: --timeout 30; check the server's load",
        )
    else:
        yield _close_after_unknown(connection, what)


def _close_after_unknown(connection: ProbeConnection, what: str) -> Finding:
    """The application does not know the doctor's own messages: that it fails on one is only a warning."""
    finding = close_after(connection, what)
    if finding.code not in (f"message-{ABNORMAL_CLOSURE}", "message-1011"):
        return finding
    return replace(
        finding,
        severity=Severity.WARNING,
        means="the handler fails on a message that it does not expect; any client can send one",
        remedy="Make it close with 1003 instead; test with a message that it accepts: --message TEXT",
    )


def _milliseconds(started: float) -> str:
    return f"{(time.monotonic() - started) * 1000:.1f} ms"
