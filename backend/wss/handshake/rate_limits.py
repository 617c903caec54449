"""Limits for each client address."""

from collections import Counter
from ipaddress import ip_network


class AddressLimits:
    """What each client has taken, and whether that is enough; an IPv6 client is a /64, in which it has every address.

    `most_open`: connections at a time; `most_handshakes`: tries in a minute. None: as many as it likes, uncounted.
    """

    def __init__(self, most_open: int | None, most_handshakes: int | None) -> None:
        self._most_open = most_open
        self._most_handshakes = most_handshakes
        self._open: Counter[str] = Counter()
        self._tries: Counter[str] = Counter()
        self._minute = 0

    def is_too_fast(self, address: str, now: float) -> bool:
        """Count a handshake at `now` (seconds of any clock), and tell whether the client had too many this minute."""
        if self._most_handshakes is None:
            return False
        if self._minute != now // 60:
            self._minute = int(now // 60)
            self._tries.clear()
        key = _rate_key(address)
        self._tries[key] += 1
        return self._tries[key] > self._most_handshakes

    def is_full(self, address: str) -> bool:
        """Tell whether the client has as many open connections as it may."""
        return self._most_open is not None and self._open.get(_rate_key(address), 0) >= self._most_open

    def enter(self, address: str) -> None:
        if self._most_open is not None:
            self._open[_rate_key(address)] += 1

    def leave(self, address: str) -> None:
        if self._most_open is not None:
            key = _rate_key(address)
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]


def _rate_key(address: str) -> str:
    return str(ip_network(f"{address}/64", strict=False)) if ":" in address else address
