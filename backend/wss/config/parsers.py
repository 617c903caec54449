"""Parsers of settings: from text to value. A ValueError names the error and what to give instead."""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import unquote

from wss.config.domain import LABEL, Domain
from wss.config.environment import WHITE_SPACE
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


def name(value: str) -> str | None:
    return value or None


_HANDLER = re.compile(r"[A-Za-z_]\w*(\.\w+)*:[A-Za-z_]\w*")


def handler(value: str) -> str:
    if _HANDLER.fullmatch(value):
        return value
    module, _, attribute = value.strip("/").partition(":")
    likely = f"{module.removesuffix('.py').replace('/', '.')}:{attribute.removesuffix('()') or 'handler'}"
    example = likely if _HANDLER.fullmatch(likely) else "apps.echo:handler"
    raise ValueError(f"not a handler. Give module:coroutine, for example APP={example}")


def _items(value: str) -> list[str]:
    items = (item.strip(WHITE_SPACE) for item in value.split(","))
    return [item for item in items if item]


def domain(value: str) -> Domain:
    # The same grammar as in certs/certificates/domain.py. The proxies' shell scripts split the list, too: at spaces.
    names = Domain(_host(item, wildcard=True) for item in _items(value))
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
    return frozenset(_origin(item.lower()) for item in _items(value))


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


def ws_paths(value: str) -> tuple[str, ...]:
    """Parse the paths of the backend's WebSocket."""
    parsed = paths(value)
    if own := {"/healthz", "/readyz"}.intersection(parsed):
        raise ValueError(f"the server itself answers {min(own)}. Give another path")
    return parsed


def paths(value: str) -> tuple[str, ...]:
    paths = tuple(_items(value))
    if (value and not paths) or not all(re.fullmatch(r"/[!$&-)+-;=@-Z_a-z~]*\*?", path) for path in paths):
        raise ValueError(
            "not a list of paths. Give them as they stand in the URL, with a * at the end for all that start so,"
            " for example /wss,/chat/*"
        )
    if len(value) > 1000:
        raise ValueError(f"{len(value)} characters, and 1000 are the max. Give prefixes, such as /chat/*")
    if dotted := [path for path in paths if re.search(r"/\.{1,2}(/|$)", path)]:
        raise ValueError(f"clients remove the segments . and .. from {dotted[0]!r}. Give the path without them")
    return paths


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


def idle_timeout(value: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,4}", value, re.ASCII) or not 10 <= int(value) <= 86400:
        raise ValueError("not a time. Give 10 to 86400 seconds, as a whole number")
    return int(value)


def proxy_connections(value: str) -> int:
    # net.ipv4.ip_local_port_range in compose.yaml: 64,512 connections to one address of the upstream.
    if not re.fullmatch(r"[1-9]\d{0,4}", value, re.ASCII) or int(value) > 60000:
        raise ValueError("not a number of connections. Give 1 to 60000; a proxy has no ports for more of them")
    return int(value)


def networks(value: str) -> tuple[IPv4Network | IPv6Network, ...]:
    if value.lower() == "local":
        if found := tuple(own_networks()):
            return found
        raise ValueError("there is no interface with an address. Give networks, or connect the container to one")
    try:
        return tuple(ip_network(item) for item in _items(value))
    except ValueError as error:
        raise ValueError(
            f"{error}. Give networks or addresses, separated by commas, such as 10.0.0.0/8; or local, the networks of"
            " the container's own interfaces"
        ) from None


def spread(value: str) -> float:
    if not re.fullmatch(r"\d(\.\d{1,3})?", value, re.ASCII) or float(value) > 5:
        raise ValueError("not a time. Give 0 to 5 seconds: the spread must be shorter than a stop may take")
    return float(value)


def subprotocols(value: str) -> tuple[str, ...]:
    names = tuple(_items(value))
    if not all(re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) for name in names):
        raise ValueError("not a list of subprotocols. Give their names, separated by commas, for example mqtt")
    return names


# proxy/settings has the same words.
_ON = ("on", "true", "yes", "1")
_OFF = ("off", "false", "no", "0")


def switch(value: str) -> bool:
    word = value.lower()
    if word not in (*_ON, *_OFF):
        raise ValueError("neither on nor off. Give one of them (true, yes, 1 and false, no, 0 mean the same)")
    return word in _ON


def _word(value: str, words: Iterable[str], error: str) -> str:
    """Return a word in lower case."""
    if not value.isascii() or value.lower() not in words:
        raise ValueError(error)
    return value.lower()


def is_modern_tls_policy(value: str) -> bool:
    error = "not a policy. Give intermediate (TLS 1.2 and 1.3) or modern (1.3 alone)"
    return _word(value, ("intermediate", "modern"), error) == "modern"


def size(value: str) -> int:
    parts = re.fullmatch(r"([1-9]\d{0,9})([KM]?)", value, re.ASCII)
    size = int(parts[1]) * {"": 1, "K": 1024, "M": 1024 * 1024}[parts[2]] if parts else 0
    if not 1 <= size <= 1024 * 1024 * 1024:
        raise ValueError("not a size. Give 1 to 1024M bytes, for example 65536, 64K or 1M")
    return size


def header_size(value: str) -> int:
    # picows resets the connection if a header is larger.
    if not 1024 <= size(value) <= 16 * 1024:
        raise ValueError("not the size of a header. Give 1K to 16K bytes")
    return size(value)


def count(value: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,8}", value, re.ASCII):
        raise ValueError("not a count. Give a whole number from 1")
    return int(value)


def count_or_off(value: str) -> int | None:
    if value.lower() in _OFF and value != "0":  # which could also mean: none at all
        return None
    try:
        return count(value)
    except ValueError as error:
        raise ValueError(f"{error}, or off") from None


def seconds(value: str) -> float:
    if not re.fullmatch(r"\d{1,4}(\.\d{1,3})?", value, re.ASCII) or not 0.1 <= float(value) <= 3600:
        raise ValueError("not a time. Give 0.1 to 3600 seconds, for example 20")
    return float(value)


def log_format(value: str) -> str:
    error = "not a log format. Give json, text, or auto (text if stderr is a terminal, else json)"
    return _word(value, ("auto", "json", "text"), error)


def token(value: str) -> str | None:
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("not a token. Give printable ASCII characters without spaces")
    return value or None


def log_level(value: str) -> int:
    levels = {"debug": 10, "info": 20, "warning": 30, "error": 40}
    return levels[_word(value, levels, f"not a level. Give {', '.join(levels)}")]


def processes(value: str) -> int:
    if value.lower() == "auto":
        return len(os.sched_getaffinity(0))
    if not re.fullmatch(r"[1-9]\d{0,2}", value, re.ASCII) or int(value) > 512:
        raise ValueError("not a number of processes. Give 1 to 512, or auto for one per core")
    return int(value)


def path(value: str) -> Path | None:
    return Path(value) if value else None


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
