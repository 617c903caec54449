"""The last steps: do messages go through, and does the line hold?"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from websockets.frames import Opcode

from doctor.finding import Finding, Mark, good, problem, warning
from doctor.line import Line
from doctor.route import Route
from doctor.upgrade import open_line

BIG = 1 << 20  # bytes
DATA = (Opcode.TEXT, Opcode.BINARY)
CUT = 1006  # what the client's side says where no close frame came (RFC 6455 section 7.1.5)

# RFC 6455 section 7.4.1 and https://www.iana.org/assignments/websocket/
CLOSE_CODES = {
    1000: "the server has finished",
    1001: "the server stops, or the page goes away",
    1002: "the server says that the protocol was broken; or a proxy in between changes what is sent",
    1003: "the server does not take this kind of message",
    CUT: "the line was cut without a close frame",
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
    text = route.options.message
    with open_line(route) as line:
        yield from _ping(route, line)
        if not line.is_open:
            yield _by_itself(line)
        if text is not None:
            yield from _send(route, line, "text", repr(text), lambda: line.send_text(text))
            yield from _send(route, line, "binary", "3 bytes", lambda: line.send_binary(b"\x00\x01\xff"))
        yield from _close(line)
    if text is not None:
        with open_line(route) as line:
            yield from _send_long(route, line)


def hold(route: Route) -> Iterator[Finding]:
    """Say nothing for as long as was asked for, and see whether somebody cuts the line."""
    seconds = route.options.idle
    with open_line(route) as line:
        started, pings = time.monotonic(), 0
        heard = started
        while line.is_open and (left := started + seconds - time.monotonic()) > 0:
            if frame := line.receive(*Opcode, seconds=left):
                heard = time.monotonic()
                pings += frame.opcode is Opcode.PING
        lasted, quiet = time.monotonic() - started, time.monotonic() - heard
        if line.is_open:
            yield good(f"held for {lasted:.0f} s; {pings} pings came")
        elif line.close_code != CUT:
            yield problem(
                "idle-closed",
                f"the server closed after {lasted:.0f} s with {_closed(line)}",
                _meaning(line.close_code),
                "Look at the backend's log; a client connects again after a random pause",
            )
        else:
            yield _cut(lasted, quiet)


def _cut(lasted: float, quiet: float) -> Finding:
    who = next((name for limit, name in CUTTERS.items() if abs(quiet - limit) <= max(1.5, limit * 0.03)), "")
    return problem(
        "idle-cut",
        f"cut after {lasted:.0f} s, without a close frame",
        f"{quiet:.0f} s without traffic: " + (who or "something on the way cuts what is quiet"),
        "Let the server ping more often than that (here: PING_INTERVAL, 20 s), or raise the limit: nginx"
        " proxy_read_timeout and proxy_send_timeout, Apache Timeout and ProxyTimeout, the balancer's idle timeout",
    )


def _ping(route: Route, line: Line) -> Iterator[Finding]:
    started = time.monotonic()
    if line.await_pong():
        yield good(f"pong after {_milliseconds(started)}")
    elif line.is_open:
        yield problem(
            "message-no-pong",
            f"no pong for {route.options.timeout:g} s",
            "every WebSocket must answer a ping (RFC 6455 section 5.5.2): the server hangs, or what answers is none; or"
            " something in between passes on the handshake and keeps what comes after it",
            "Look at the backend's log and load; connect past what lies in between",
        )
    else:
        yield _by_itself(line)


def _send(route: Route, line: Line, kind: str, what: str, send: Callable[[], None]) -> Iterator[Finding]:
    if not line.is_open:
        return
    started = time.monotonic()
    send()
    reply = line.receive(*DATA)
    if reply:
        yield good(f"{what}: a message came back after {_milliseconds(started)}")
    if not line.is_open:
        yield _ended(line, what)
    elif not reply:
        yield warning(
            f"message-no-reply-{kind}",
            f"{what}: no reply for {route.options.timeout:g} s",
            "this may be right: not every handler answers",
            "If it should: docker compose logs backend; or send what it answers to: --message TEXT",
        )


def _send_long(route: Route, line: Line) -> Iterator[Finding]:
    """Whether it is taken shows in the pong that comes after it; a reply may be about something else."""
    what, started = "1 MiB of text", time.monotonic()
    line.send_text("x" * BIG)
    if line.await_pong():
        yield good(f"{what}: taken after {_milliseconds(started)}")
    elif line.is_open:
        yield warning(
            "message-slow",
            f"{what}: no pong for {route.options.timeout:g} s after it",
            "the line is slow, or the server is so busy with this message that it answers nothing else",
            "Give it more time: --timeout 30; look at the backend's load",
        )
    else:
        yield _ended(line, what)


def _close(line: Line) -> Iterator[Finding]:
    if not line.is_open:
        return
    line.close()
    line.receive()
    if line.close_code in (1000, 1005):  # 1005: a close frame without a code, which is an answer as well
        yield good("closed with 1000")
    elif line.close_code != CUT:
        yield _by_itself(line)
    else:
        yield warning(
            "message-close",
            f"closing with 1000 was answered with {_closed(line)}",
            "clients take this for a failure, and connect again",
            "Let the server answer a close frame with one (RFC 6455 section 5.5.1); libraries do",
        )


def _by_itself(line: Line) -> Finding:
    """The server ended it although nothing was said: that is not about a message."""
    return replace(_ended(line, "without a message"), mark=Mark.PROBLEM)


def _ended(line: Line, what: str) -> Finding:
    if line.violation:
        return problem(
            "message-violation",
            f"{what}: what came breaks RFC 6455 ({line.violation})",
            "clients must end such a connection: the server is home-made, or a proxy in between changes what is sent",
            "Use a WebSocket library on the server; connect past what lies in between",
        )
    code = line.close_code
    # A server may well refuse what we send; it says so, and its clients are its own.
    is_about_message = code in (1000, 1003, 1007, 1008, 1009) or code >= 3000
    remedy = {
        CUT: "Look at the backend's log: it crashed, or a proxy in between broke the connection",
        1008: "Say who comes: --header 'Authorization: …', --header 'Cookie: …', --origin https://…",
        1009: "Send shorter messages, or raise the limit (here: MAX_MESSAGE)",
        1011: "Look at the handler's traceback: docker compose logs backend",
    }.get(
        code,
        "Send what it takes: --message TEXT, --subprotocol NAME; or nothing: --no-messages"
        if is_about_message
        else "Look at the backend's log",
    )
    mark = Mark.WARNING if is_about_message else Mark.PROBLEM
    return Finding(mark, f"message-{code}", f"{what}: closed with {_closed(line)}", _meaning(code), remedy)


def _meaning(code: int) -> str:
    return CLOSE_CODES.get(code, "a code of the application's own" if code >= 3000 else "no usual reason")


def _closed(line: Line) -> str:
    return f"{line.close_code} ({line.close_reason})" if line.close_reason else f"{line.close_code}"


def _milliseconds(started: float) -> str:
    return f"{(time.monotonic() - started) * 1000:.1f} ms"
