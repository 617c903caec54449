"""The names of DOMAIN: their grammar, which of them are public, and whether a certificate covers them."""

import re
import string
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address

from certificates import CertificateError

# The same grammar as in backend/wss/config/addresses.py; tests/unit/test_domain_agree.py compares the two.
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(\*\.(?=[^._]+\.[^_]+$))?({_LABEL}\.)*(?!\d+$){_LABEL}")
# Top-level domains that no public CA validates: RFC 2606, RFC 6761, RFC 6762, RFC 8375, ICANN's .internal.
_LOCAL = (".localhost", ".local", ".test", ".invalid", ".example", ".internal", ".home.arpa")


def parse_domain(value: str) -> list[str]:
    """Return the names of DOMAIN in lower case, IPv6 addresses without brackets; raises CertificateError."""
    items = (item.strip(string.whitespace) for item in value.split(","))
    names = [_name(item) for item in items if item]
    if not names:
        raise CertificateError("DOMAIN contains no name. Set the names that clients use, such as DOMAIN=example.com")
    return names


def _name(given: str) -> str:
    item = given.lower()
    with suppress(ValueError):
        if item == f"[{IPv6Address(item[1:-1])}]" and "%" not in item:
            return item[1:-1]
    with suppress(ValueError):
        return str(IPv4Address(item))
    if len(item) > 253 or not given.isascii() or not _NAME.fullmatch(item):
        raise CertificateError(
            f"DOMAIN has {given!r}, which is not a valid host name. Correct DOMAIN: names without scheme, port or path,"
            " separated by commas, such as DOMAIN=example.com,*.example.com"
        )
    return item


def is_dns_name(name: str) -> bool:
    """Whether it is a name in DNS, without a wildcard."""
    return len(name) <= 253 and name.isascii() and bool(re.fullmatch(rf"({_LABEL}\.)*{_LABEL}", name.lower()))


def is_public(name: str) -> bool:
    """Whether a public CA can validate it: a global address, or a name under a public top-level domain."""
    try:
        return ip_address(name).is_global
    except ValueError:
        return "." in name.removeprefix("*.") and not name.endswith(_LOCAL)


def concrete(name: str) -> str:
    """Return a name that clients can connect by: for a wildcard, one that it covers."""
    return re.sub(r"^\*", "x", name)


def covers(certificate_names: Iterable[str], name: str) -> bool:
    """Whether a certificate with these SANs is valid for the name (RFC 9525 section 6.3)."""
    names = {each.lower() for each in certificate_names}
    return name in names or (not is_address(name) and f"*.{name.partition('.')[2]}" in names)


def is_address(name: str) -> bool:
    with suppress(ValueError):
        ip_address(name)
        return True
    return False
