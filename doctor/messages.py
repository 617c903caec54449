"""The last steps: do messages go through, and does the line hold?"""

import secrets
import time
from collections.abc import Callable, Iterator

from websockets.frames import Opcode

from doctor.finding import Finding, Mark, good, problem, warning
from doctor.line import Line
from doctor.route import Route

BIG = 1 << 20  # bytes
DATA = (Opcode.TEXT, Opcode.BINARY)

# RFC 6455 section 7.4.1 and https://www.iana.org/assignments/websocket/
CLOSE_CODES = {
    1000: "the server has finished",
    1001: "the server stops, or the page goes away",
    1002: "the server says that the protocol was broken; or a proxy in between changes what is sent",
    1003: "the server does not take this kind of message",
    1006: "the line was cut without a close frame",
    1007: "the server says that the text is not what it should be",
    1008: "the server refuses by a policy of its own: often, who comes has not said who they are",
    1009: "the message is longer than the server takes",
    1011: "the server's handler failed",
    1012: "the server restarts",
    1013: "the server is overloaded",
}

# Idle limits that are somebody's default.
CUTTERS = {
    30: "Apache: a Timeout or ProxyTimeout of 30 s; this stack, where the backend does not ping",
    55: "Heroku: 55 s",
    60: "nginx: proxy_read_timeout (60 s by default); AWS ALB: idle timeout; Apache: Timeout",
    100: "Cloudflare: no traffic for 100 s",
    120: "a home router or a mobile network",
    240: "Azure: TCP idle timeout of a load balancer",
    300: "Apache: Timeout or ProxyTimeout of 300 s",
    350: "AWS NLB: 350 s",
    600: "Google Cloud: 600 s",
}


def talk(route: Route) -> Iterator[Finding]:
    """A ping, a text message, a binary one, a close; then a long message on a line of its own."""
    with Line(route) as line:
        yield from _ping(route, line)
        if route.options.message is not None:
            text = route.options.message
            yield from _send(route, line, "text", f"{text!r}", lambda: line.send_text(text))
            if line.is_open:
                yield from _send(route, line, "binary", "3 bytes", lambda: line.send_binary(b"\x00\x01\xff"))
        if line.is_open:
            yield _close(line)
    if route.options.message is not None:
        with Line(route) as line:
            yield from _send(route, line, "long", "1 MiB of text", lambda: line.send_text("x" * BIG))


def hold(route: Route) -> Iterator[Finding]:
    """Say nothing for as long as was asked for, and see whether somebody cuts the line."""
    seconds = route.options.idle
    with Line(route) as line:
        started, pings = time.monotonic(), list[float]()
        while line.is_open and (left := started + seconds - time.monotonic()) > 0:
            if frame := line.receive(Opcode.PING, seconds=left):
                pings.append(time.monotonic() - started)
                del frame
        lasted = time.monotonic() - started
        if line.is_open:
            told = (
                f"; the server pinged {len(pings)} times, first after {pings[0]:.0f} s" if pings else "; no ping came"
            )
            yield good(f"held for {lasted:.0f} s{told}")
            return
    last = f", {lasted - pings[-1]:.0f} s after the last ping" if pings else ""
    quiet = lasted - (pings[-1] if pings else 0.0)
    who = next((name for limit, name in CUTTERS.items() if abs(quiet - limit) <= max(1.5, limit * 0.03)), "")
    yield problem(
        "idle-cut",
        f"cut after {lasted:.0f} s{last} ({_closed(line)})",
        f"{quiet:.0f} s without traffic: {who}" if who else "something on the way cuts what is quiet",
        "Let the server ping more often than that (here: PING_INTERVAL, 20 s), or raise the limit: nginx"
        " proxy_read_timeout and proxy_send_timeout, Apache Timeout and ProxyTimeout, the balancer's idle timeout",
    )


def _ping(route: Route, line: Line) -> Iterator[Finding]:
    data, started = secrets.token_bytes(8), time.monotonic()
    line.ping(data)
    while (frame := line.receive(Opcode.PONG)) and frame.data != data:
        pass
    if frame:
        yield good(f"pong after {_milliseconds(started)}")
    elif line.is_open:
        yield problem(
            "message-no-pong",
            f"no pong for {route.options.timeout:g} s",
            "every WebSocket must answer a ping (RFC 6455 section 5.5.2): the server hangs, or what answers is none",
            "Look at the backend's log and load",
        )
    else:
        yield _ended(line, "ping")


def _send(route: Route, line: Line, kind: str, what: str, send: Callable[[], None]) -> Iterator[Finding]:
    started = time.monotonic()
    send()
    if line.receive(*DATA):
        yield good(f"{what}: a reply after {_milliseconds(started)}")
    elif line.is_open:
        yield warning(
            f"message-no-reply-{kind}",
            f"{what}: no reply for {route.options.timeout:g} s",
            "this may be right: not every handler answers",
            "If it should: docker compose logs backend; or send what it answers to: --message TEXT",
        )
    else:
        yield _ended(line, what)


def _close(line: Line) -> Finding:
    line.close()
    line.receive()
    if line.close_code != 1000:
        return warning(
            "message-close",
            f"closing with 1000 was answered with {_closed(line)}",
            "clients take this for a failure, and connect again",
            "Let the server answer a close frame with one (RFC 6455 section 5.5.1); libraries do",
        )
    return good("closed with 1000")


def _ended(line: Line, what: str) -> Finding:
    code = line.close_code
    # A server may well refuse these; it says so, and its clients are its own.
    mark = Mark.WARNING if code in (1003, 1008, 1009) else Mark.PROBLEM
    remedy = {
        1003: "Send what the handler takes",
        1006: "Look at the backend's log: it crashed, or a proxy in between broke the connection",
        1008: "Say who comes: --header 'Authorization: …', --header 'Cookie: …', --origin https://…",
        1009: "Send shorter messages, or raise the limit (here: MAX_MESSAGE)",
        1011: "Look at the handler's traceback: docker compose logs backend",
    }.get(code, "Look at the backend's log")
    return Finding(mark, f"message-{code}", f"{what}: closed with {_closed(line)}", CLOSE_CODES.get(code, ""), remedy)


def _closed(line: Line) -> str:
    return f"{line.close_code} ({line.close_reason})" if line.close_reason else f"{line.close_code}"


def _milliseconds(started: float) -> str:
    return f"{(time.monotonic() - started) * 1000:.1f} ms"
