"""The settings of the backend: read from the environment once, at start, into one frozen object."""

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path
from typing import TypeVar

Parsed = TypeVar("Parsed")


# Seconds: below the timeouts of nginx.conf and httpd.conf, which are 90.
MOST_SILENCE = 80.0


class SettingError(ValueError):
    """A setting is wrong; the message names it, its value and the remedy."""


@dataclass(frozen=True)
class Settings:
    """What the operator decided. The README's table of settings gives the meaning of each."""

    app: str
    """``module:coroutine`` of the handler."""
    domain: frozenset[str]
    """The host names that clients may ask for, in lower case; IPv6 addresses without brackets."""
    ws_paths: tuple[str, ...]
    """The paths that are a WebSocket, the one to be named in errors first."""
    origins: frozenset[str]
    """The origins whose pages may connect, ``https://*.example.com`` for all subdomains; empty: every origin may."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...]
    """The networks whose X-Real-IP is believed."""
    subprotocols: tuple[str, ...]
    """The subprotocols that the handler speaks, the preferred one first."""
    compression: bool
    """Whether permessage-deflate is agreed to."""
    max_message: int
    """Bytes of one message."""
    max_fragments: int
    """Frames of one message, empty ones too."""
    max_connections: int
    """Open websockets of one worker."""
    handshake_timeout: float
    """Seconds for the TLS handshake, and again for the HTTP request."""
    ping_interval: float
    """Seconds between pings of ours."""
    ping_timeout: float
    """Seconds that a client has to answer one."""
    stop_spread: float
    """Seconds over which the close frames of a stop are spread."""
    slow_reader_timeout: float
    """Seconds that a client may leave unread what is sent to it."""
    log_format: str
    """``json``, ``text``, or ``auto``: text at a terminal."""
    workers: int
    """How many processes share the port."""
    port: int
    """The TCP port to listen on; 0: any free one."""
    tls: Path | None
    """The directory with ``server.pem`` and ``server.key``; None: plain ws, for a proxy before us."""


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read and check all settings.

    Raises SettingError for the first one that is wrong. An empty value counts as absent, as Compose hands over
    what is not set.
    """

    def read(name: str, default: str, parse: Callable[[str], Parsed]) -> Parsed:
        value = environment.get(name, "").strip() or default
        try:
            return parse(value)
        except ValueError as error:
            raise SettingError(f"{name}={value!r}: {error}") from None

    settings = Settings(
        app=read("APP", "apps.ok:handler", _app),
        domain=read("DOMAIN", "localhost", _domain),
        ws_paths=read("WS_PATHS", "/wss,/", _paths),
        trusted_proxies=read("TRUSTED_PROXIES", "", _networks),
        stop_spread=read("STOP_SPREAD", "1", _spread),
        origins=read("ORIGINS", "", _origins),
        subprotocols=read("SUBPROTOCOLS", "", _subprotocols),
        compression=read("COMPRESSION", "off", _switch),
        max_message=read("MAX_MESSAGE", "1M", _size),
        max_fragments=read("MAX_FRAGMENTS", "4096", _count),
        max_connections=read("MAX_CONNECTIONS", "16000", _count),
        handshake_timeout=read("HANDSHAKE_TIMEOUT", "10", _seconds),
        ping_interval=read("PING_INTERVAL", "20", _seconds),
        ping_timeout=read("PING_TIMEOUT", "20", _seconds),
        slow_reader_timeout=read("SLOW_READER_TIMEOUT", "30", _seconds),
        log_format=read("LOG_FORMAT", "auto", _log_format),
        workers=read("WORKERS", "1", _workers),
        port=read("PORT", "8282", _port),
        tls=read("TLS_DIR", "", lambda value: Path(value) if value else None),
    )
    if settings.ping_interval + settings.ping_timeout > MOST_SILENCE:
        raise SettingError(
            f"PING_INTERVAL and PING_TIMEOUT are {settings.ping_interval + settings.ping_timeout:g} s together, but the"
            f" proxies close what is silent for longer. Give at most {MOST_SILENCE:g} s together"
        )
    return settings


def _app(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", value):
        raise ValueError("not a handler. Give module:coroutine, for example APP=apps.echo:handler")
    return value


def _items(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip()]


# A label of RFC 1123 section 2.1, and "_", which Docker service names may have.
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"


def _domain(value: str) -> frozenset[str]:
    names = frozenset(_host(item.lower()) for item in _items(value))
    if not names:
        raise ValueError("no name in it. Give the host names that clients use, for example DOMAIN=example.com")
    return names


def _host(name: str) -> str:
    # As in a URL: IPv6 addresses in brackets (RFC 3986 section 3.2.2), in the one spelling of RFC 5952.
    with suppress(ValueError):
        if name == f"[{IPv6Address(name[1:-1])}]":
            return name[1:-1]
    with suppress(ValueError):
        return str(IPv4Address(name))
    if len(name) > 253 or not re.fullmatch(rf"({_LABEL}\.)*(?!\d+$){_LABEL}", name):
        raise ValueError(
            f"{name!r} is not a host name. Give names without scheme, port, path or wildcard, separated by commas,"
            " international ones in their xn-- form, IPv6 addresses as short as they can be and in brackets,"
            " for example DOMAIN=example.com,www.example.com"
        )
    return name


def _origins(value: str) -> frozenset[str]:
    return frozenset(_origin(item.lower()) for item in _items(value))


def _origin(value: str) -> str:
    # As browsers write it (RFC 6454 section 6.2): no path, no default port.
    parts = re.fullmatch(r"(https?)://(?:\*\.)?(\[[0-9a-f:.]+\]|[^/:@*\[\]]+)(:\d{1,5})?", value)
    if parts:
        with suppress(ValueError):
            _host(parts[2])
            if int((parts[3] or ":0")[1:]) > 65535:
                raise ValueError
            default_port = {"http": ":80", "https": ":443"}[parts[1]]
            return value.removesuffix(default_port) if parts[3] == default_port else value
    raise ValueError(
        f"{value!r} is not an origin. Give scheme://host[:port] without a path, separated by commas,"
        " for example ORIGINS=https://example.com,https://*.example.com"
    )


def _paths(value: str) -> tuple[str, ...]:
    paths = tuple(_items(value))
    if not paths or not all(re.fullmatch(r"/[!$&-;=@-Z_a-z~]*", path) for path in paths):
        raise ValueError("not a list of paths. Give them as they stand in the URL, for example /wss,/chat")
    return paths


def _networks(value: str) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(ip_network(item) for item in _items(value))
    except ValueError as error:
        raise ValueError(f"{error}. Give networks or addresses, separated by commas, such as 10.0.0.0/8") from None


def _spread(value: str) -> float:
    if not re.fullmatch(r"\d(\.\d{1,3})?", value, re.ASCII) or float(value) > 5:
        raise ValueError("not a time. Give 0 to 5 seconds, less than a stop may take")
    return float(value)


def _subprotocols(value: str) -> tuple[str, ...]:
    names = tuple(_items(value))
    if not all(re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) for name in names):
        raise ValueError("not a list of subprotocols. Give their names, separated by commas, for example mqtt")
    return names


def _switch(value: str) -> bool:
    if value not in ("on", "off"):
        raise ValueError("neither on nor off. Give one of them")
    return value == "on"


def _size(value: str) -> int:
    parts = re.fullmatch(r"([1-9]\d{0,9})([KM]?)", value, re.ASCII)
    size = int(parts[1]) * {"": 1, "K": 1024, "M": 1024 * 1024}[parts[2]] if parts else 0
    if not 1 <= size <= 1024 * 1024 * 1024:
        raise ValueError("not a size. Give 1 to 1024M bytes, for example 65536, 64K or 1M")
    return size


def _count(value: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,8}", value, re.ASCII):
        raise ValueError("not a count. Give a whole number from 1")
    return int(value)


def _seconds(value: str) -> float:
    if not re.fullmatch(r"\d{1,4}(\.\d{1,3})?", value, re.ASCII) or not 0.1 <= float(value) <= 3600:
        raise ValueError("not a time. Give 0.1 to 3600 seconds, for example 20")
    return float(value)


def _log_format(value: str) -> str:
    if value not in ("auto", "json", "text"):
        raise ValueError("not a log format. Give json, text, or auto for text at a terminal")
    return value


def _workers(value: str) -> int:
    if value == "auto":
        return len(os.sched_getaffinity(0))
    if not (value.isascii() and value.isdigit() and 1 <= int(value) <= 512):
        raise ValueError("not a number of processes. Give 1 to 512, or auto for one per core")
    return int(value)


def _port(value: str) -> int:
    if not (value.isascii() and value.isdigit() and int(value) <= 65535):
        raise ValueError("not a port. Give 0 to 65535")
    return int(value)
