"""A raw request with its outcome in each profile. The list is in raw_request_cases.py.

A case is a valid handshake with a change. Its outcome is a status. If that is 101, the handler sees the path and the
added headers as sent, and the true address of the client, unless the case has others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

# Outcomes without a status.
NO_TLS = "the TLS handshake is refused"
HTTP_2 = "HTTP/2 is negotiated"
HTTP_0_9 = "a response of HTTP/0.9, which has no status"
Outcome = int | str

HANDSHAKE = (
    "Host: {authority}",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
    "App: whoami",  # selects the handler that returns what it saw
)


@dataclass(frozen=True)
class Case:
    """A request. `{authority}` in it is the host and port of the deployment."""

    what: str
    outcome: Outcome
    add: tuple[str, ...] = ()
    """Header lines after those of the handshake."""
    without: tuple[str, ...] = ()
    """Names of header lines of the handshake to omit."""
    line: str = "GET /wss HTTP/1.1"
    end: str = "\r\n"
    """The end of each line."""
    sees: tuple[str, ...] | None = None
    """The headers that the handler sees; None: those of `add`."""
    path: str = ""
    """The path that the handler sees; empty: the target of `line`."""
    server_name: str = "localhost"
    """The name in the TLS handshake (SNI). For an address, clients send none."""
    alpn: tuple[str, ...] = ()
    but: Mapping[str, Outcome] = field(default_factory=dict)
    """Other outcomes, by profile."""
    but_sees: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What the handler sees in other profiles."""
    why: str = ""
    """The reason of a difference."""

    @property
    def request(self) -> str:
        lines = [line for line in HANDSHAKE if line.partition(":")[0] not in self.without]
        return self.end.join((self.line, *lines, *self.add, "", ""))

    def outcome_in(self, profile: str) -> Outcome:
        return self.but.get(profile, self.outcome)

    def seen_in(self, profile: str) -> tuple[str, ...]:
        return self.but_sees.get(profile, self.add if self.sees is None else self.sees)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}… ({len(text)})"


def header(outcome: Outcome, name: str, *values: str) -> list[Case]:
    """Return a case for each value of a header of the handshake, in place of the valid one."""
    return [Case(_short(f"{name}: {value}"), outcome, (f"{name}: {value}",), (name,), sees=()) for value in values]


def added(outcome: Outcome, *lines: str, sees: tuple[str, ...] | None = None) -> list[Case]:
    """Return a case for each line that is added to the handshake."""
    return [Case(_short(f"and {line}"), outcome, (line,), sees=sees) for line in lines]


def target(outcome: Outcome, *targets: str, path: str = "") -> list[Case]:
    """Return a case for each request target."""
    return [Case(_short(f"GET {target}"), outcome, line=f"GET {target} HTTP/1.1", path=path) for target in targets]


def request_line(outcome: Outcome, *lines: str) -> list[Case]:
    return [Case(line, outcome, line=line, path="/wss") for line in lines]


def differ(why: str, *groups: list[Case], **but: Outcome) -> list[Case]:
    """Return these cases with other outcomes in some profiles."""
    return [replace(case, but=but, why=why) for cases in groups for case in cases]


def unseen(why: str, cases: list[Case], *profiles: str) -> list[Case]:
    """Return these cases, whose headers the handler does not see in some profiles."""
    return [replace(case, but_sees={**case.but_sees, **dict.fromkeys(profiles, ())}, why=why) for case in cases]


def headers(outcome: Outcome, *counts: int, size: int = 1) -> list[Case]:
    """Return a case for each number of headers, those of the handshake included; `size` is that of their values."""
    numbers = {count: range(count - len(HANDSHAKE)) for count in counts}
    return [
        Case(
            f"{count} headers of {size} bytes", outcome, tuple(f"X-{number}: {'x' * size}" for number in numbers[count])
        )
        for count in counts
    ]
