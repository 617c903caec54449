"""Limits per client address."""

from collections import Counter
from ipaddress import ip_network


class AddressLimits:
    """Counts open connections and handshakes per client; an IPv6 client is a /64, because it has all addresses in it.

    `max_connections`: open at a time; `max_handshakes`: per minute. None: no limit, not counted.
    """

    def __init__(self, max_connections: int | None, max_handshakes: int | None) -> None:
        self._max_connections = max_connections
        self._max_handshakes = max_handshakes
        self._open: Counter[str] = Counter()
        self._handshakes: Counter[str] = Counter()
        self._minute = 0

    def is_too_fast(self, address: str, now: float) -> bool:
        """Count a handshake at `now` (seconds of any clock). Return whether the client is over its limit per minute."""
        if self._max_handshakes is None:
            return False
        if self._minute != now // 60:
            self._minute = int(now // 60)
            self._handshakes.clear()
        key = _rate_key(address)
        self._handshakes[key] += 1
        return self._handshakes[key] > self._max_handshakes

    def is_full(self, address: str) -> bool:
        """Return whether the client has reached its limit of open connections."""
        return self._max_connections is not None and self._open.get(_rate_key(address), 0) >= self._max_connections

    def enter(self, address: str) -> None:
        if self._max_connections is not None:
            self._open[_rate_key(address)] += 1

    def leave(self, address: str) -> None:
        if self._max_connections is not None:
            key = _rate_key(address)
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]


def _rate_key(address: str) -> str:
    return str(ip_network(f"{address}/64", strict=False)) if ":" in address else address
