"""The settings of nginx and httpd, validated before a start. The proxies render their configurations themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from wss.config import addresses, parsers
from wss.config.domain import Domain
from wss.config.environment import SettingError, read, setting, settings_of, value_of
from wss.config.settings import Settings

# Settings of upstream.yaml, which have no meaning without it.
ONLY_WITH_UPSTREAM = ("UPSTREAM", "UPSTREAM_NETWORK", "HTTP_PATHS", "MAX_BODY")


@dataclass(frozen=True)
class ProxySettings:
    """What the proxies enforce in front of any server; in front of our backend, Settings has the rest."""

    proxy_connections: int = field(metadata=setting("PROXY_CONNECTIONS", "10000", parsers.proxy_connections))
    """Max open WebSockets and requests to HTTP_PATHS."""
    https_port: int = field(metadata=setting("HTTPS_PORT", "443", addresses.published_port))
    """The published port, for redirects."""
    prometheus_port: int = field(metadata=setting("PROMETHEUS_PORT", "127.0.0.1:9090", addresses.published_port))
    """The published port of Prometheus, with monitoring.yaml."""
    log_format: str = field(metadata=setting("LOG_FORMAT", "auto", parsers.log_format))


@dataclass(frozen=True)
class BackendSettings(ProxySettings):
    """What the proxies need in front of our backend."""

    backend: str = field(metadata=setting("BACKEND", "backend", addresses.host))
    """The host name that resolves to all replicas. nginx knows no search domains."""


@dataclass(frozen=True)
class UpstreamSettings(ProxySettings):
    """What the proxies enforce in front of a server that is not our backend."""

    upstream: str = field(metadata=setting("UPSTREAM", "", addresses.upstream))
    """``host:port`` of the server."""
    domain: Domain = field(metadata=setting("DOMAIN", "localhost", addresses.domain))
    ws_paths: tuple[str, ...] = field(metadata=setting("WS_PATHS", "/wss", parsers.paths))
    """The paths that may become a WebSocket."""
    http_paths: tuple[str, ...] = field(metadata=setting("HTTP_PATHS", "", parsers.paths))
    """The paths that are passed on as plain HTTP."""
    max_body: int = field(metadata=setting("MAX_BODY", "1M", parsers.size))
    """Max bytes of the body of a request to HTTP_PATHS."""
    origins: frozenset[str] = field(metadata=setting("ORIGINS", "", addresses.proxy_origins))
    """The origins whose pages may connect."""
    idle_timeout: int = field(metadata=setting("IDLE_TIMEOUT", "3600", parsers.idle_timeout))
    """Seconds after which a WebSocket that is silent in both directions is closed."""
    stop_drain: int = field(metadata=setting("STOP_DRAIN", "0", parsers.drain))
    """Seconds that clients have to leave by themselves before a proxy that stops ends their connections."""
    tls_modern: bool = field(metadata=setting("TLS_POLICY", "intermediate", parsers.is_modern_tls_policy))
    hsts: bool = field(metadata=setting("HSTS", "off", parsers.switch))


def check_with_backend(environment: Mapping[str, str]) -> None:
    """Raise SettingError if a setting of the proxies in front of our own backend is wrong."""
    if ignored := [name for name in ONLY_WITH_UPSTREAM if value_of(environment, name)]:
        raise SettingError(
            f"{', '.join(ignored)}: only a server of your own has this."
            " Set COMPOSE_FILE=compose.yaml:upstream.yaml, or unset it"
        )
    read(BackendSettings, environment)


def read_upstream_settings(environment: Mapping[str, str]) -> UpstreamSettings:
    """Return the settings of the proxies in front of a server that is not ours; raises SettingError."""
    settings = read(UpstreamSettings, environment)
    enforced = {each.name for each in settings_of(UpstreamSettings).values()}
    if unenforced := [
        each.name
        for each in settings_of(Settings).values()
        if each.name not in enforced and value_of(environment, each.name)
    ]:
        raise SettingError(
            f"{', '.join(unenforced)}: only our own backend has this, and with UPSTREAM it does not run."
            " Unset it, and configure your server instead"
        )
    if value_of(environment, "MAX_BODY") and not settings.http_paths:
        raise SettingError("MAX_BODY: there are no request bodies without HTTP_PATHS. Set it, or unset MAX_BODY")
    return settings
