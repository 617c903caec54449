"""Parsers of settings that are names, addresses, URLs and ports; as in parsers.py, a ValueError has the remedy."""

import re
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from urllib.parse import unquote

from wss.config.domain import LABEL, Domain
from wss.config.environment import items
from wss.config.hub_address import HubAddress
from wss.config.interfaces import own_networks


def hub(value: str) -> HubAddress | None:
    """Parse the URL of the hub. The last "@" ends the password, which needs no encoding but that of "%"."""
    if not value:
        return None
    url = re.fullmatch(
        r"(valkey|redis)://(?:([^:/@]*):(.+)@)?(\[[^/@]+\]|[^/@:]+)(?::(\d{1,5}))?(?:/(\d{0,3}))?", value, re.IGNORECASE
    )
    try:
        if not url or not value.isprintable():
            raise ValueError
        _, username, password, host, number, database = url.groups(default="")
        return HubAddress(
            _host(host.lower()),
            _numbered_port(number or "6379"),
            unquote(username, errors="strict") or None,
            unquote(password, errors="strict") or None,
            int(database or 0),
        )
    except ValueError:  # its text may have a part of the password
        pass
    tls = " TLS to the hub is not supported." if re.match("(valkeys|rediss):", value, re.IGNORECASE) else ""
    raise ValueError(
        f"not the URL of a Valkey server.{tls} Give valkey://host, or valkey://:password@host:port with each % of the"
        " password as %25"
    )


def domain(value: str) -> Domain:
    # The same grammar as in certs/certificates/domain.py. The proxies' shell scripts split the list, too: at spaces.
    names = Domain(_host(item, wildcard=True) for item in items(value))
    if not names:
        raise ValueError("contains no name. Give the host names that clients use, for example DOMAIN=example.com")
    return names


def _host(given: str, *, wildcard: bool = False) -> str:
    name = given.lower()
    # As in a URL: IPv6 addresses in brackets (RFC 3986 section 3.2.2), in the canonical form of RFC 5952.
    with suppress(ValueError):
        if name == f"[{IPv6Address(name[1:-1])}]" and "%" not in name:  # RFC 6874: a zone is for this machine alone
            return name[1:-1]
    with suppress(ValueError):
        return str(IPv4Address(name))
    # TLS clients accept no wildcard for a top-level domain, nor with "_".
    rest = re.sub(r"^\*\.(?=[^._]+\.[^_]+$)", "", name) if wildcard else name
    if len(name) > 253 or not given.isascii() or not re.fullmatch(rf"({LABEL}\.)*(?!\d+$){LABEL}", rest):
        raise ValueError(
            f"{given!r} is not a host name. Give names without scheme, port or path, separated by commas, *. in front"
            " for all names one label below, international names in their xn-- form, IPv6 addresses in their shortest"
            " form and in brackets, for example DOMAIN=example.com,*.example.com"
        )
    return name


def origins(value: str) -> frozenset[str]:
    return frozenset(_origin(item.lower()) for item in items(value))


_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def proxy_origins(value: str) -> frozenset[str]:
    """Parse the origins that the proxies themselves check."""
    # A regular expression of httpd has 8,191 characters at most, and three for each "." here.
    if len(value) > 2500:
        raise ValueError(f"{len(value)} characters, and 2500 are the max. Give fewer, such as https://*.example.com")
    return origins(value)


def _origin(value: str) -> str:
    # As browsers send it (RFC 6454 section 6.2): no path, no default port.
    if value == "null" or value.startswith("file:"):
        raise ValueError(
            f"{value!r} is the origin of every local file and every sandboxed frame, anybody's too."
            " Give the pages of your app an origin, such as https://localhost or capacitor://localhost"
        )
    parts = re.fullmatch(r"([a-z][a-z0-9.-]*)://(\*\.)?(\[[0-9a-f:.]+\]|[^/:@*\[\]]+)(:\d{1,5})?", value)
    if parts and parts[1] not in ("ws", "wss"):
        scheme, wildcard, host, number = parts.groups()
        with suppress(ValueError):
            port((number or ":0")[1:])
            if scheme not in _DEFAULT_PORTS:
                return _app_origin(value, host, wildcard)
            if wildcard and not re.search("[a-z_]", host.rpartition(".")[2]):
                raise ValueError  # an address has no subdomains
            _host(host)
            return value.removesuffix(number) if number == _DEFAULT_PORTS[scheme] else value
    raise ValueError(
        f"{value!r} is not an origin. Give scheme://host[:port] without a path, separated by commas,"
        " for example ORIGINS=https://example.com,https://*.example.com; of an app, for example capacitor://localhost"
    )


def _app_origin(value: str, host: str, wildcard: str | None) -> str:
    """Return an origin such as capacitor://localhost, or chrome-extension://ID; the ID need not be a host name."""
    if wildcard or not re.fullmatch(r"[a-z0-9._-]+", host):
        raise ValueError
    return value


def host(value: str) -> str:
    """Parse a host name or an IPv4 address."""
    with suppress(ValueError):
        if not value.startswith("["):
            return _host(value)
    raise ValueError("not a host name. Give one without scheme, port or path, for example backend.internal.example")


def upstream(value: str) -> str:
    """Parse host:port of the server behind the proxies."""
    if re.match(r"(https|wss):", value, re.IGNORECASE):
        raise ValueError(
            "TLS to the upstream is out of scope, because the proxies terminate it."
            " Give host:port of a port that speaks plain HTTP, for example app:9000"
        )
    host, _, number = value.lower().rpartition(":")
    try:
        is_address = _host(host) and not host.startswith("[") and port(number) >= 1
    except ValueError:
        is_address = False
    if not is_address:
        raise ValueError(
            "not host:port. Give the name of a service or host, or an IPv4 address, and a port, without scheme and"
            " path, for example app:9000, or host.docker.internal:9000 for a port of this machine"
        )
    if host == "localhost" or host.startswith("127."):
        raise ValueError(
            f"{host} is the container of the proxy. Give the name of the service,"
            f" or host.docker.internal:{number} for a port of this machine"
        )
    return value


def networks(value: str) -> tuple[IPv4Network | IPv6Network, ...]:
    if value.lower() == "local":
        if found := tuple(own_networks()):
            return found
        raise ValueError("there is no interface with an address. Give networks, or connect the container to one")
    try:
        return tuple(ip_network(item) for item in items(value))
    except ValueError as error:
        raise ValueError(
            f"{error}. Give networks or addresses, separated by commas, such as 10.0.0.0/8; or local, the networks of"
            " the container's own interfaces"
        ) from None


def published_port(value: str) -> int:
    """Parse a published port of Compose: a port, or an address and a port. Compose also accepts a range of ports."""
    address, _, number = value.rpartition(":")
    with suppress(ValueError):
        if address.startswith("["):
            IPv6Address(address[1:].removesuffix("]"))
        elif address:
            IPv4Address(address)
        return port(number)
    raise ValueError("not a port. Give 0 to 65535, or an address and a port, for example 127.0.0.1:8443")


def port(value: str) -> int:
    if not re.fullmatch(r"\d{1,5}", value, re.ASCII) or int(value) > 65535:
        raise ValueError("not a port. Give 0 to 65535")
    return int(value)


def _numbered_port(value: str) -> int:
    if not port(value):
        raise ValueError("not the port of a server. Give 1 to 65535")
    return port(value)
