"""The address of a client: its own, or the one that a trusted proxy forwards."""

import re
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from multidict import CIMultiDict

# Headers about the client that our proxies set; they overwrite those that the client sends.
_SET_BY_PROXIES = {
    *("x-real-ip", "x-request-id", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"),
    *("x-client-subject", "x-client-serial", "x-client-issuer"),
}


# A name that claims something about the client. Also X_Real_IP, X.Real-IP and the like: CGI, WSGI and PHP read them as
# X-Real-IP. Proxy: https://httpoxy.org
_CLAIM = "|".join(["forwarded", "proxy", "x-forwarded-.*", *_SET_BY_PROXIES]).replace("-", r"[^a-z0-9\n]")
_FORGED = re.compile(rf"^(?:{_CLAIM})$", re.IGNORECASE | re.MULTILINE)
_FORGED_BEHIND_A_PROXY = re.compile(
    rf"^(?!(?:{'|'.join(_SET_BY_PROXIES)})$)(?:{_CLAIM})$", re.IGNORECASE | re.MULTILINE
)


def without_forged(headers: CIMultiDict[str], *, behind_a_proxy: bool) -> CIMultiDict[str]:
    """Return the headers without those that would let a client impersonate another one."""
    # All names in one search: nearly always, none is forged, and nothing has to be copied.
    forged = (_FORGED_BEHIND_A_PROXY if behind_a_proxy else _FORGED).findall("\n".join(headers))
    if forged:
        headers = headers.copy()
        for name in forged:
            headers.popall(name, None)
    return headers


def is_trusted(peer: str, trusted: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether the peer is in TRUSTED_PROXIES."""
    return any(ip_address(peer) in network for network in trusted)


def forwarded_client(peer: str, headers: CIMultiDict[str]) -> str:
    """Return the X-Real-IP from a trusted peer if it is exactly one valid address, else the address of the peer."""
    claims = headers.getall("X-Real-IP", [])
    if len(claims) == 1:
        with suppress(ValueError):
            return normalize_address(claims[0])
    return peer


# Cached, because proxies and many clients connect repeatedly.
@lru_cache(maxsize=1024)
def normalize_address(address: str) -> str:
    """Return IPv4-mapped addresses (RFC 4291 section 2.5.5.2), which a dual-stack socket reports, as IPv4.

    Raises ValueError if it is not an address.
    """
    parsed = ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)
