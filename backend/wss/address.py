"""Who is at the other end."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from multidict import CIMultiDict

# What our proxies say about the client they speak for, in place of what it may have said itself.
_SET_BY_PROXIES = {
    *("x-real-ip", "x-request-id", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"),
    *("x-client-subject", "x-client-serial"),
}


def remove_claims(headers: CIMultiDict[str], *, behind_a_proxy: bool) -> None:
    """Remove the headers by which a client could pretend to be another one, in every spelling there is a use for."""
    for name in {name.lower() for name in headers}:
        claim = name == "forwarded" or name in _SET_BY_PROXIES or name.startswith("x-forwarded-")
        if claim and not (behind_a_proxy and name in _SET_BY_PROXIES):
            headers.popall(name)


def is_trusted(peer: str, trusted: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether the peer is a proxy of ours."""
    return any(ip_address(peer) in network for network in trusted)


def believed_address(peer: str, headers: CIMultiDict[str]) -> str:
    """Return what X-Real-IP says where a trusted peer says one address, else the peer's."""
    claims = headers.getall("X-Real-IP", [])
    if len(claims) == 1:
        with suppress(ValueError):
            return readable(claims[0])
    return peer


# Proxies, and many clients, come again and again.
@lru_cache(maxsize=1024)
def readable(address: str) -> str:
    """Return IPv4 as IPv4: a socket for both families reports it as mapped (RFC 4291 section 2.5.5.2).

    Raises ValueError where it is no address.
    """
    parsed = ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)


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
        household = _household(address)
        self._tries[household] += 1
        return self._tries[household] > self._most_handshakes

    def is_full(self, address: str) -> bool:
        """Tell whether the client has as many open connections as it may."""
        return self._most_open is not None and self._open.get(_household(address), 0) >= self._most_open

    def enter(self, address: str) -> None:
        if self._most_open is not None:
            self._open[_household(address)] += 1

    def leave(self, address: str) -> None:
        if self._most_open is not None:
            household = _household(address)
            self._open[household] -= 1
            if not self._open[household]:
                del self._open[household]


def _household(address: str) -> str:
    return str(ip_network(f"{address}/64", strict=False)) if ":" in address else address
