"""The settings of the backend: read from the environment once, at start, into one frozen object."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import NamedTuple

from wss.config import parsers

# Seconds between pings at most: the timeouts of nginx.conf and httpd.conf are 30.
MAX_PING_INTERVAL = 20.0
# And for a client that does not read.
MAX_SLOW_READER_TIMEOUT = 30.0


class SettingError(ValueError):
    """A setting is wrong; the message names it, its value and the remedy."""


class Setting(NamedTuple):
    """Where a value comes from."""

    name: str
    """In the environment."""
    default: str
    """As text, as it would be in the environment."""
    parse: Callable[[str], object]
    """Returns the value of a text; raises ValueError, which names what is wrong and what to give instead."""


def _from(name: str, default: str, parse: Callable[[str], object]) -> dict[str, Setting]:
    """Return the metadata of a field."""
    return {"setting": Setting(name, default, parse)}


@dataclass(frozen=True)
class Settings:
    """What the operator decided. The README's table of settings gives the meaning of each."""

    app: str = field(metadata=_from("APP", "apps.ok:handler", parsers.handler))
    """``module:coroutine`` of the handler."""
    domain: frozenset[str] = field(metadata=_from("DOMAIN", "localhost", parsers.host_names))
    """The host names that clients may ask for, in lower case; IPv6 addresses without brackets."""
    ws_paths: tuple[str, ...] = field(metadata=_from("WS_PATHS", "/wss,/", parsers.paths))
    """The paths that are a WebSocket, the one to be named in errors first."""
    origins: frozenset[str] = field(metadata=_from("ORIGINS", "", parsers.origins))
    """The origins whose pages may connect, ``https://*.example.com`` for all subdomains; empty: every origin may."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = field(
        metadata=_from("TRUSTED_PROXIES", "", parsers.networks)
    )
    """The networks whose X-Real-IP is believed."""
    subprotocols: tuple[str, ...] = field(metadata=_from("SUBPROTOCOLS", "", parsers.subprotocols))
    """The subprotocols that the handler speaks, the preferred one first."""
    compression: bool = field(metadata=_from("COMPRESSION", "off", parsers.switch))
    """Whether permessage-deflate is agreed to."""
    max_message: int = field(metadata=_from("MAX_MESSAGE", "1M", parsers.size))
    """Bytes of one message."""
    max_fragments: int = field(metadata=_from("MAX_FRAGMENTS", "4096", parsers.count))
    """Frames of one message, empty ones too."""
    max_header: int = field(metadata=_from("MAX_HEADER", "16K", parsers.header_size))
    """Bytes of a request line and headers together."""
    max_connections: int = field(metadata=_from("MAX_CONNECTIONS", "16000", parsers.count))
    """Open websockets of one worker."""
    max_connections_per_address: int | None = field(
        metadata=_from("MAX_CONNECTIONS_PER_ADDRESS", "off", parsers.count_or_off)
    )
    """Open websockets of one client address (of one /64 in IPv6) in one worker; None: as many as there is room for."""
    max_handshakes_per_address: int | None = field(
        metadata=_from("MAX_HANDSHAKES_PER_ADDRESS", "off", parsers.count_or_off)
    )
    """Handshakes of one client address (of one /64 in IPv6) per minute in one worker; None: any number."""
    handshake_timeout: float = field(metadata=_from("HANDSHAKE_TIMEOUT", "10", parsers.seconds))
    """Seconds for the TLS handshake, and again for the HTTP request."""
    ping_interval: float = field(metadata=_from("PING_INTERVAL", "20", parsers.seconds))
    """Seconds between pings of ours."""
    ping_timeout: float = field(metadata=_from("PING_TIMEOUT", "20", parsers.seconds))
    """Seconds that a client has to answer one."""
    stop_spread: float = field(metadata=_from("STOP_SPREAD", "1", parsers.spread))
    """Seconds over which the close frames of a stop are spread."""
    write_limit: int = field(metadata=_from("WRITE_LIMIT", "64K", parsers.size))
    """Bytes that may wait for a client to read them before its handler has to wait too."""
    slow_reader_timeout: float = field(metadata=_from("SLOW_READER_TIMEOUT", "30", parsers.seconds))
    """Seconds that a client may leave unread what is sent to it."""
    log_format: str = field(metadata=_from("LOG_FORMAT", "auto", parsers.log_format))
    """``json``, ``text``, or ``auto``: text at a terminal."""
    log_level: int = field(metadata=_from("LOG_LEVEL", "info", parsers.log_level))
    """The level from which on is logged, as a number of the standard library's logging."""
    reload: bool = field(metadata=_from("RELOAD", "off", parsers.switch))
    """Whether the workers are replaced when a Python file of the handler changes: for development."""
    workers: int = field(metadata=_from("WORKERS", "1", parsers.processes))
    """How many processes share the port."""
    port: int = field(metadata=_from("PORT", "8282", parsers.port))
    """The TCP port to listen on; 0: any free one."""
    metrics_port: int = field(metadata=_from("METRICS_PORT", "8283", parsers.port))
    """The TCP port of the metrics; 0: any free one."""
    run_dir: Path | None = field(metadata=_from("RUN_DIR", "", parsers.path))
    """The directory for sockets and counters of the workers; None: one for this run, under the temporary directory."""
    tls_modern: bool = field(metadata=_from("TLS_POLICY", "intermediate", parsers.is_modern_tls_policy))
    """Whether TLS 1.2 is refused."""
    hsts: bool = field(metadata=_from("HSTS", "0", parsers.flag))
    """Whether responses carry Strict-Transport-Security, for two years."""
    tls: Path | None = field(metadata=_from("TLS_DIR", "", parsers.path))
    """The directory with ``server.pem`` and ``server.key``; None: plain ws, for a proxy before us."""
    challenges: Path | None = field(metadata=_from("CHALLENGES", "", parsers.path))
    """What to show an ACME server on port 80, a directory; None: port 80 is closed."""
    page: Path | None = field(metadata=_from("PAGE", "", parsers.path))
    """The HTML file to serve on ``/`` to those that want no websocket; None: none."""
    public_port: int = field(metadata=_from("DIRECT_PORT", "8282", parsers.published_port))
    """The port that clients connect to for TLS, where it is ours."""
    expiry_file: Path | None = field(metadata=_from("EXPIRY_FILE", "", parsers.path))
    """Where the desk says when the proxy's certificate expires."""
    hub: str | None = field(metadata=_from("HUB", "", parsers.hub))
    """The URL of the Valkey by which workers reach each other's clients; None: each is alone."""
    hub_password_file: Path | None = field(metadata=_from("HUB_PASSWORD_FILE", "", parsers.path))
    """Where its password is, unless it is in the URL."""
    replicas: str | None = field(metadata=_from("REPLICAS", "", parsers.name))
    """The host name that all replicas of this service share; None: there is but one."""


def without_password(value: str) -> str:
    """Return what may be shown of a value that may be a URL."""
    return re.sub("//[^/@]*:.*@", "//…@", value)


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read and check all settings.

    Raises SettingError for the first one that is wrong. An empty value counts as absent, as Compose hands over
    what is not set.
    """

    values = {}
    for each in fields(Settings):
        setting: Setting = each.metadata["setting"]
        text = environment.get(setting.name, "").strip() or setting.default
        try:
            values[each.name] = setting.parse(text)
        except ValueError as error:
            raise SettingError(f"{setting.name}={without_password(text)!r}: {error}") from None
    settings = Settings(**values)  # type: ignore[arg-type]  # each parser returns what its field is
    if settings.ping_interval > MAX_PING_INTERVAL:
        raise SettingError(
            f"PING_INTERVAL={settings.ping_interval:g}: the proxies close what is silent for longer."
            f" Give at most {MAX_PING_INTERVAL:g} seconds"
        )
    if settings.slow_reader_timeout > MAX_SLOW_READER_TIMEOUT:
        raise SettingError(
            f"SLOW_READER_TIMEOUT={settings.slow_reader_timeout:g}: the proxies wait no longer for a client that"
            f" does not read. Give at most {MAX_SLOW_READER_TIMEOUT:g} seconds"
        )
    return settings
