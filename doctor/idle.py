"""The last check, with --idle: does an idle connection stay open?"""

import time
from collections.abc import Iterator

from websockets.frames import Opcode

from doctor.closing import ABNORMAL_CLOSURE, code_and_reason, meaning
from doctor.context import Context
from doctor.finding import Finding, good, problem
from doctor.upgrade import open_websocket

# Common default limits, in seconds.
IDLE_TIMEOUTS = {
    30: "this stack: IDLE_TIMEOUT, if its backend does not ping; Apache: a Timeout or ProxyTimeout of 30 s",
    55: "Heroku: 55 s",
    60: "nginx: proxy_read_timeout (60 s by default); AWS ALB: idle timeout; Apache: Timeout",
    100: "Cloudflare: no traffic for 100 s",
    120: "a home router or a mobile network",
    240: "Azure: TCP idle timeout of a load balancer",
    300: "Apache: Timeout or ProxyTimeout of 300 s",
    350: "AWS NLB: 350 s",
    600: "Google Cloud: 600 s",
    3600: "this stack: IDLE_TIMEOUT, with UPSTREAM",
}


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
                f"the server closed after {lasted:.0f} s with {code_and_reason(connection)}",
                meaning(connection.close_code),
                "Check the server's log; clients should reconnect after a random delay",
            )
        else:
            yield _cut(lasted, quiet, pings)


def _cut(lasted: float, quiet: float, pings: int) -> Finding:
    cause = next(
        (name for limit, name in IDLE_TIMEOUTS.items() if abs(quiet - limit) <= max(1.5, limit * 0.03)),
        "a device on the network path closes idle connections",
    )
    return problem(
        "idle-cut",
        f"connection lost after {lasted:.0f} s, without a close frame; {pings} pings received",
        f"{quiet:.0f} s without traffic: {cause}",
        "The WebSocket server has to ping: browsers and proxies cannot. This stack's backend does (PING_INTERVAL, 20"
        " s), and so do uvicorn, websockets and Socket.IO; Node's ws does not by itself. Or raise the limit: with this"
        " stack, IDLE_TIMEOUT; nginx, proxy_read_timeout and proxy_send_timeout; Apache, Timeout and ProxyTimeout; or"
        " the balancer's idle timeout",
    )
