"""The settings of the backend: read from the environment once, at start, into one frozen object."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TypeVar

from wss.config import parsers as values

Parsed = TypeVar("Parsed")

# Seconds between pings at most: the timeouts of nginx.conf and httpd.conf are 30.
MAX_PING_INTERVAL = 20.0
# And for a client that does not read.
MAX_SLOW_READER_TIMEOUT = 30.0


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
    max_header: int
    """Bytes of a request line and headers together."""
    max_connections: int
    """Open websockets of one worker."""
    max_connections_per_address: int | None
    """Open websockets of one client address (of one /64 in IPv6) in one worker; None: as many as there is room for."""
    max_handshakes_per_address: int | None
    """Handshakes of one client address (of one /64 in IPv6) per minute in one worker; None: any number."""
    handshake_timeout: float
    """Seconds for the TLS handshake, and again for the HTTP request."""
    ping_interval: float
    """Seconds between pings of ours."""
    ping_timeout: float
    """Seconds that a client has to answer one."""
    stop_spread: float
    """Seconds over which the close frames of a stop are spread."""
    write_limit: int
    """Bytes that may wait for a client to read them before its handler has to wait too."""
    slow_reader_timeout: float
    """Seconds that a client may leave unread what is sent to it."""
    log_format: str
    """``json``, ``text``, or ``auto``: text at a terminal."""
    workers: int
    """How many processes share the port."""
    port: int
    """The TCP port to listen on; 0: any free one."""
    metrics_port: int
    """The TCP port of the metrics; 0: any free one."""
    run_dir: Path | None
    """The directory for sockets and counters of the workers; None: one for this run, under the temporary directory."""
    tls_modern: bool
    """Whether TLS 1.2 is refused."""
    hsts: bool
    """Whether browsers are told to use nothing but https for two years."""
    tls: Path | None
    """The directory with ``server.pem`` and ``server.key``; None: plain ws, for a proxy before us."""
    challenges: Path | None
    """What to show an ACME server on port 80, a directory; None: port 80 is closed."""
    page: Path | None
    """The HTML file to serve on ``/`` to those that want no websocket; None: none."""
    public_port: int
    """The port that clients connect to for TLS, where it is ours."""
    expiry_file: Path | None
    """Where the desk says when the proxy's certificate expires."""
    hub: str | None
    """The URL of the Valkey by which workers reach each other's clients; None: each is alone."""
    hub_password_file: Path | None
    """Where its password is, unless it is in the URL."""
    replicas: str | None
    """The host name that all replicas of this service share; None: there is but one."""


def without_password(value: str) -> str:
    """Return what may be shown of a value that may be a URL."""
    return re.sub("//[^/@]*:.*@", "//…@", value)


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
            raise SettingError(f"{name}={without_password(value)!r}: {error}") from None

    settings = Settings(
        app=read("APP", "apps.ok:handler", values.handler),
        domain=read("DOMAIN", "localhost", values.host_names),
        ws_paths=read("WS_PATHS", "/wss,/", values.paths),
        trusted_proxies=read("TRUSTED_PROXIES", "", values.networks),
        stop_spread=read("STOP_SPREAD", "1", values.spread),
        origins=read("ORIGINS", "", values.origins),
        subprotocols=read("SUBPROTOCOLS", "", values.subprotocols),
        compression=read("COMPRESSION", "off", values.switch),
        max_message=read("MAX_MESSAGE", "1M", values.size),
        max_fragments=read("MAX_FRAGMENTS", "4096", values.count),
        max_header=read("MAX_HEADER", "16K", values.header_size),
        max_connections=read("MAX_CONNECTIONS", "16000", values.count),
        max_connections_per_address=read("MAX_CONNECTIONS_PER_ADDRESS", "off", values.count_or_off),
        max_handshakes_per_address=read("MAX_HANDSHAKES_PER_ADDRESS", "off", values.count_or_off),
        handshake_timeout=read("HANDSHAKE_TIMEOUT", "10", values.seconds),
        ping_interval=read("PING_INTERVAL", "20", values.seconds),
        ping_timeout=read("PING_TIMEOUT", "20", values.seconds),
        write_limit=read("WRITE_LIMIT", "64K", values.size),
        slow_reader_timeout=read("SLOW_READER_TIMEOUT", "30", values.seconds),
        log_format=read("LOG_FORMAT", "auto", values.log_format),
        workers=read("WORKERS", "1", values.processes),
        port=read("PORT", "8282", values.port),
        metrics_port=read("METRICS_PORT", "8283", values.port),
        run_dir=read("RUN_DIR", "", values.path),
        tls_modern=read("TLS_POLICY", "intermediate", values.tls_policy) == "modern",
        hsts=read("HSTS", "0", values.flag),
        tls=read("TLS_DIR", "", values.path),
        challenges=read("CHALLENGES", "", values.path),
        page=read("PAGE", "", values.path),
        public_port=read("DIRECT_PORT", "8282", values.published_port),
        expiry_file=read("EXPIRY_FILE", "", values.path),
        hub=read("HUB", "", values.hub),
        hub_password_file=read("HUB_PASSWORD_FILE", "", values.path),
        replicas=read("REPLICAS", "", values.name),
    )
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
