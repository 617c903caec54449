"""Who is at the other end."""

from contextlib import suppress
from ipaddress import IPv6Address, ip_address

from multidict import CIMultiDict

from wss.connection import Connection

# What our proxies say about the client they speak for, in place of what it may have said itself.
_SET_BY_PROXIES = {"x-real-ip", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}


def remove_claims(headers: CIMultiDict[str], *, behind_a_proxy: bool) -> None:
    """Remove the headers by which a client could pretend to be another one, in every spelling there is a use for."""
    for name in {name.lower() for name in headers}:
        claim = name in ("forwarded", "x-real-ip") or name.startswith("x-forwarded-")
        if claim and not (behind_a_proxy and name in _SET_BY_PROXIES):
            headers.popall(name)


def peer_address(connection: Connection) -> str:
    """Return the address of whoever opened the TCP connection: the client, or the proxy before us."""
    return readable(connection.remote_address[0])


def client_address(connection: Connection) -> str:
    """Return the client's address: what X-Real-IP says where the peer is one of TRUSTED_PROXIES, else the peer's."""
    peer = ip_address(peer_address(connection))
    claims = connection.request.headers.getall("X-Real-IP", [])
    if len(claims) == 1 and any(peer in network for network in connection.settings.trusted_proxies):
        with suppress(ValueError):
            return readable(claims[0])
    return str(peer)


def readable(address: str) -> str:
    """Return IPv4 as IPv4: a socket for both families reports it as mapped (RFC 4291 section 2.5.5.2).

    Raises ValueError where it is no address.
    """
    parsed = ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)
