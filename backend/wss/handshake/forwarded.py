"""Who is at the other end."""

from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from multidict import CIMultiDict

# What our proxies say about the client they speak for, in place of what it may have said itself.
_SET_BY_PROXIES = {
    *("x-real-ip", "x-request-id", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"),
    *("x-client-subject", "x-client-serial"),
}


def strip_forwarded(headers: CIMultiDict[str], *, behind_a_proxy: bool) -> None:
    """Remove the headers by which a client could pretend to be another one, in every spelling there is a use for."""
    for name in {name.lower() for name in headers}:
        claim = name == "forwarded" or name in _SET_BY_PROXIES or name.startswith("x-forwarded-")
        if claim and not (behind_a_proxy and name in _SET_BY_PROXIES):
            headers.popall(name)


def is_trusted(peer: str, trusted: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether the peer is a proxy of ours."""
    return any(ip_address(peer) in network for network in trusted)


def forwarded_client(peer: str, headers: CIMultiDict[str]) -> str:
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
