"""The settings of the backend: read from the environment once, at start, into one frozen object."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from wss.config import addresses, parsers
from wss.config.domain import Domain
from wss.config.environment import SettingError, read, setting
from wss.config.history import Limits
from wss.config.history import history as parse_history
from wss.config.hub_address import HubAddress

# Seconds: send_timeout of nginx.conf.
MAX_SLOW_READER_TIMEOUT = 30.0
# Seconds by which a ping precedes the IDLE_TIMEOUT of the proxies.
PING_MARGIN = 10.0


@dataclass(frozen=True)
class Settings:
    """All settings. docs/settings.md explains each."""

    app: str = field(metadata=setting("APP", "apps.ok:handler", parsers.handler))
    """``module:coroutine`` of the handler."""
    domain: Domain = field(metadata=setting("DOMAIN", "localhost", addresses.domain))
    """The host names that clients may use."""
    ws_paths: tuple[str, ...] = field(metadata=setting("WS_PATHS", "/wss,/", parsers.ws_paths))
    """The paths of the WebSocket. Error responses name the first one."""
    origins: frozenset[str] = field(metadata=setting("ORIGINS", "", addresses.origins))
    """The origins whose pages may connect; ``https://*.example.com``: all subdomains; empty: all origins."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = field(
        metadata=setting("TRUSTED_PROXIES", "", addresses.networks)
    )
    """The networks whose X-Real-IP is trusted; ``local``: those of the own interfaces."""
    subprotocols: tuple[str, ...] = field(metadata=setting("SUBPROTOCOLS", "", parsers.subprotocols))
    """The subprotocols that the handler supports, in order of preference."""
    compression: bool = field(metadata=setting("COMPRESSION", "off", parsers.switch))
    """Whether permessage-deflate is negotiated."""
    max_message: int = field(metadata=setting("MAX_MESSAGE", "1M", parsers.size))
    """Max bytes of one message."""
    max_fragments: int = field(metadata=setting("MAX_FRAGMENTS", "4096", parsers.count))
    """Max frames of one message, including empty ones."""
    max_header: int = field(metadata=setting("MAX_HEADER", "16K", parsers.header_size))
    """Max bytes of the request line and headers together."""
    max_connections: int = field(metadata=setting("MAX_CONNECTIONS", "16000", parsers.count))
    """Max open WebSockets per worker."""
    max_connections_per_address: int | None = field(
        metadata=setting("MAX_CONNECTIONS_PER_ADDRESS", "off", parsers.count_or_off)
    )
    """Max open WebSockets per client address (per /64 in IPv6) and worker; None: no limit."""
    max_handshakes_per_address: int | None = field(
        metadata=setting("MAX_HANDSHAKES_PER_ADDRESS", "off", parsers.count_or_off)
    )
    """Max handshakes per minute, client address (/64 in IPv6) and worker; None: no limit."""
    message_rate: int | None = field(metadata=setting("MESSAGE_RATE", "off", parsers.count_or_off))
    """Max messages per second of one client, on average over 5 s; None: no limit."""
    byte_rate: int | None = field(metadata=setting("BYTE_RATE", "off", parsers.size_or_off))
    """Max bytes of messages per second of one client, on average over 5 s; None: no limit."""
    handshake_timeout: float = field(metadata=setting("HANDSHAKE_TIMEOUT", "10", parsers.seconds))
    """Seconds for the TLS handshake, and the same again for the HTTP request."""
    ping_interval: float = field(metadata=setting("PING_INTERVAL", "20", parsers.seconds))
    """Seconds between keepalive pings."""
    idle_timeout: int = field(metadata=setting("IDLE_TIMEOUT", "30", parsers.idle_timeout))
    """Seconds after which the proxies close a WebSocket that is silent in both directions."""
    ping_timeout: float = field(metadata=setting("PING_TIMEOUT", "20", parsers.seconds))
    """Seconds that a client has to answer a keepalive ping."""
    stop_spread: float = field(metadata=setting("STOP_SPREAD", "1", parsers.spread))
    """Seconds over which a stop spreads its close frames."""
    stop_drain: int = field(metadata=setting("STOP_DRAIN", "0", parsers.drain))
    """Seconds that clients have to leave by themselves before a stop closes them; 0: none."""
    drain_spread: int | None = field(metadata=setting("DRAIN_SPREAD", "", parsers.drain_spread))
    """Seconds over which a drain tells its connections; None: half of STOP_DRAIN."""
    write_limit: int = field(metadata=setting("WRITE_LIMIT", "64K", parsers.size))
    """High-water mark of the write buffer, in bytes: above it, the handler's `send` waits for the client to read."""
    slow_reader_timeout: float = field(metadata=setting("SLOW_READER_TIMEOUT", "30", parsers.seconds))
    """Seconds without reading until a client is aborted."""
    log_format: str = field(metadata=setting("LOG_FORMAT", "auto", parsers.log_format))
    """``json``, ``text``, or ``auto``: text at a terminal."""
    log_level: int = field(metadata=setting("LOG_LEVEL", "info", parsers.log_level))
    """The level from which on is logged, as a number of the standard library's logging."""
    reload: bool = field(metadata=setting("RELOAD", "off", parsers.switch))
    """Whether the workers are replaced when a Python file of the handler changes: for development."""
    workers: int = field(metadata=setting("WORKERS", "1", parsers.processes))
    """How many worker processes share the port."""
    port: int = field(metadata=setting("PORT", "8282", addresses.port))
    """The TCP port to listen on; 0: any free port."""
    metrics_port: int = field(metadata=setting("METRICS_PORT", "8283", addresses.port))
    """The TCP port of the metrics; 0: any free port."""
    push_token: str | None = field(metadata=setting("PUSH_TOKEN", "", parsers.token, secret=True), repr=False)
    """The token that POST /push requires; None: none."""
    run_dir: Path | None = field(metadata=setting("RUN_DIR", "", parsers.path))
    """The directory for the control sockets and metrics files of the workers; None: a temporary directory."""
    tls_modern: bool = field(metadata=setting("TLS_POLICY", "intermediate", parsers.is_modern_tls_policy))
    """Whether TLS 1.2 is refused."""
    hsts: bool = field(metadata=setting("HSTS", "off", parsers.switch))
    """Whether responses have Strict-Transport-Security, for two years."""
    tls_dir: Path | None = field(metadata=setting("TLS_DIR", "", parsers.path))
    """The directory with the certificate and its key (see wss.net.tls); None: plain ws, behind a proxy."""
    challenges: Path | None = field(metadata=setting("CHALLENGES", "", parsers.path))
    """The directory with the ACME challenges, served on port 80; None: port 80 is closed."""
    page: Path | None = field(metadata=setting("PAGE", "", parsers.path))
    """The HTML file to serve on ``/`` without a WebSocket handshake, with the files beside it; None: no page."""
    public_port: int = field(metadata=setting("DIRECT_PORT", "8282", addresses.published_port))
    """The published TLS port in `direct`, for redirects."""
    expiry_file: Path | None = field(metadata=setting("EXPIRY_FILE", "", parsers.path))
    """The file in which the certificate service writes when the proxy's certificate expires."""
    close_revoked: bool = field(metadata=setting("CLOSE_REVOKED", "off", parsers.switch))
    """Whether open connections are closed when a new revocation list revokes their client certificates."""
    revoked_file: Path | None = field(metadata=setting("REVOKED_FILE", "", parsers.path))
    """The file in which the certificate service writes what CLIENT_CRL revokes; None: there is no CLIENT_CRL."""
    hub: HubAddress | None = field(metadata=setting("HUB", "", addresses.hub, secret=True))
    """The Valkey server that connects the rooms of all workers; None: rooms of one worker only."""
    history: Mapping[str, Limits] = field(metadata=setting("HISTORY", "", parse_history))
    """How much rooms keep of their messages, by name or prefix."""
    hub_password_file: Path | None = field(metadata=setting("HUB_PASSWORD_FILE", "", parsers.path))
    """The file with the password of the hub; a password in the URL takes precedence."""
    replicas: str | None = field(metadata=setting("REPLICAS", "", parsers.name))
    """The host name that resolves to all replicas of this service; None: there is only one."""

    @property
    def spread_of_drain(self) -> float:
        """Seconds over which a drain tells its connections."""
        return self.stop_drain / 2 if self.drain_spread is None else self.drain_spread


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read and validate all settings; raises SettingError for the first one that is wrong."""
    settings = read(Settings, environment)
    max_ping_interval = settings.idle_timeout - PING_MARGIN
    if settings.ping_interval > max_ping_interval:
        raise SettingError(
            f"PING_INTERVAL={settings.ping_interval:g}: the proxies close connections that are idle for"
            f" IDLE_TIMEOUT={settings.idle_timeout}. Give at most {max_ping_interval:g} seconds, or raise IDLE_TIMEOUT"
        )
    max_slow_reader_timeout = min(MAX_SLOW_READER_TIMEOUT, settings.idle_timeout)
    if settings.slow_reader_timeout > max_slow_reader_timeout:
        raise SettingError(
            f"SLOW_READER_TIMEOUT={settings.slow_reader_timeout:g}: the proxies close the connection of a client"
            f" that does not read for longer. Give at most {max_slow_reader_timeout:g} seconds"
        )
    if settings.close_revoked and not settings.revoked_file:
        raise SettingError(
            "CLOSE_REVOKED=on: there is no revocation list. Set CLIENT_CA and CLIENT_CRL, or unset CLOSE_REVOKED"
        )
    _check_drain(settings)
    return settings


def _check_drain(settings: Settings) -> None:
    if settings.drain_spread and not settings.stop_drain:
        raise SettingError(
            f"DRAIN_SPREAD={settings.drain_spread}s: without STOP_DRAIN, clients have no time to leave."
            " Set STOP_DRAIN, or unset DRAIN_SPREAD"
        )
    if settings.spread_of_drain > settings.stop_drain:
        raise SettingError(
            f"DRAIN_SPREAD={settings.drain_spread}s: connections are closed after STOP_DRAIN={settings.stop_drain}s."
            f" Give at most {settings.stop_drain}s, or raise STOP_DRAIN"
        )
    if settings.reload and settings.stop_drain:
        raise SettingError(
            f"RELOAD=on: each change of a file would leave old workers for STOP_DRAIN={settings.stop_drain}s."
            " Unset one of them: RELOAD is for development"
        )
