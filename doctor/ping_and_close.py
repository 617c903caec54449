"""The seventh check: do the server and all proxies in between pass on frames? It needs no message."""

import time
from collections.abc import Iterator

from doctor.closing import ABNORMAL_CLOSURE, unprompted_close
from doctor.context import Context
from doctor.finding import Finding, good, problem, warning
from doctor.probe_connection import ProbeConnection
from doctor.upgrade import open_websocket


def check_ping_and_close(context: Context) -> Iterator[Finding]:
    """Send a ping, then a close frame. Every WebSocket must answer both, and applications see neither."""
    with open_websocket(context) as connection:
        yield from _ping(context, connection)
        if connection.is_open:
            yield from _close(connection)
        else:
            yield unprompted_close(connection)


def _ping(context: Context, connection: ProbeConnection) -> Iterator[Finding]:
    started = time.monotonic()
    if connection.await_pong():
        yield good(f"pong after {(time.monotonic() - started) * 1000:.1f} ms")
    elif connection.is_open:
        yield problem(
            "ping-no-pong",
            f"no pong within {context.options.timeout:g} s",
            "every WebSocket must answer a ping (RFC 6455 section 5.5.2): the server hangs or does not support"
            " WebSocket; or a proxy in between forwards the handshake, but not the frames after it",
            "Check the server's log and load; connect directly, bypassing any proxy",
        )


def _close(connection: ProbeConnection) -> Iterator[Finding]:
    connection.close()
    connection.receive()
    if connection.close_code in (1000, 1005):  # 1005: a close frame without a code is a valid answer
        yield good("closed with 1000")
    elif connection.close_code != ABNORMAL_CLOSURE or connection.violation:
        yield unprompted_close(connection)
    else:
        yield warning(
            "close-no-answer",
            "the server did not answer the close frame (1000) with a close frame",
            "clients treat this as a failure, and reconnect",
            "Make the server answer a close frame with one (RFC 6455 section 5.5.1); libraries do",
        )
