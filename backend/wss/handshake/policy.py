"""The handshake policy: accept a request with 101, or reject it with a response (RFC 6455 section 4.2).

The check of picows runs after this one. It is looser in some places (two keys, versions 7 and 8, any Host, any path)
and too strict in one (`Connection: keep-alive, Upgrade`, which Firefox sends).
"""

import re
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from ipaddress import IPv6Address

from multidict import CIMultiDict

from wss.config.settings import Settings
from wss.handshake.forwarded import without_forged
from wss.handshake.page import read_page
from wss.handshake.request import HttpRequest
from wss.handshake.responses import MISDIRECTED, HttpResponse, plain_response
from wss.protocol import deflate

HEALTH_PATH = "/healthz"
# For a proxy that selects a replica: one at its connection limit is healthy, but not ready.
READY_PATH = "/readyz"

# Without user and password (RFC 9110 section 4.2.4).
_URL = re.compile(
    r"[a-z][a-z0-9+.-]*://(?P<authority>(\[[0-9a-f:.]+\]|[^/?#@\\:\[\]]+)(:[0-9]*)?)(?P<path>([/?].*)?)", re.IGNORECASE
)
# 16 bytes in base64.
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
_PORT = re.compile(r"(:[0-9]{0,5})?")
_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# What two servers may resolve differently: a segment "." or "..", also percent-encoded (RFC 3986 section 5.2.4), a zero
# byte, a "%" that starts no escape, a fragment.
_AMBIGUOUS = re.compile(r"/(\.|%2e){1,2}(/|$)|%00|%(?![0-9a-f]{2})|#", re.IGNORECASE)


def sanitized(request: HttpRequest, *, behind_a_proxy: bool) -> HttpRequest:
    """Return the request without headers that a client forged, and with a target that is a path."""
    target, headers = request.target, without_forged(request.headers, behind_a_proxy=behind_a_proxy)
    # RFC 9112 section 3.2.2: a whole URL has to be accepted, and its host counts. Host is still required (section 3.2).
    if (url := _URL.fullmatch(target)) and len(headers.getall("Host", [])) == 1:
        headers = headers.copy()
        headers["Host"], target = url["authority"], url["path"] if url["path"].startswith("/") else f"/{url['path']}"
    return HttpRequest(target, headers)


class Handshake:
    """The handshake policy of a server."""

    def __init__(self, settings: Settings) -> None:
        self._domain = settings.domain
        self._any_origin = not settings.origins
        self._origins = {origin for origin in settings.origins if "*" not in origin}
        # The parts before and after the "*" of https://*.example.com.
        self._wildcard_origins = [origin.split("*") for origin in settings.origins if "*" in origin]
        self._paths = settings.ws_paths
        self._path_prefixes = [path.removesuffix("*") for path in settings.ws_paths if path.endswith("*")]
        self._page = read_page(settings.page) if settings.page else {}
        self._subprotocols = settings.subprotocols
        self._compression = settings.compression

    def refuse(
        self,
        request: HttpRequest,
        *,
        server_name: str | None = None,
        full: bool = False,
        draining: bool = False,
        degraded_reason: str = "",
        has_route: Callable[[str], bool] = lambda _: True,
    ) -> HttpResponse | None:
        """Return the response that rejects a sanitized request, or answers it without a WebSocket; None to accept it.

        `server_name` is that of the TLS handshake (SNI), if any. A server that is full, or about to end, takes no more
        websockets: 503 makes a proxy try another one. `degraded_reason` is for the health path, if all else goes on.
        `has_route` is asked for paths of WS_PATHS.
        """
        headers = request.headers
        path = request.path
        if refused := self._check_host(headers, server_name):
            return refused
        if not path.startswith("/"):
            return plain_response(HTTPStatus.BAD_REQUEST, "The request target is not a URL.", reason="target")
        # picows accepts 00; the proxies do not.
        if headers.get("Content-Length", "0") != "0":
            return plain_response(HTTPStatus.BAD_REQUEST, "A WebSocket handshake has no body.", reason="malformed")
        # RFC 9110 section 5.5. picows accepts them.
        if _CONTROL_CHARACTER.search("\t".join(headers.values())):  # all in one search; a tab is allowed
            text = "A header has a control character in its value."
            return plain_response(HTTPStatus.BAD_REQUEST, text, reason="malformed")
        if path == HEALTH_PATH:
            # A drain is no fault: during STOP_DRAIN, Docker must not report the container as unhealthy.
            return plain_response(HTTPStatus.OK, "draining" if draining else degraded_reason or "ok")
        if path == READY_PATH:
            is_ready = not (full or draining)
            return plain_response(*((HTTPStatus.OK, "ok") if is_ready else (HTTPStatus.SERVICE_UNAVAILABLE, "no room")))
        if path in self._page and "Upgrade" not in headers:
            return self._page[path]
        if not self._is_websocket(path) or not has_route(path):
            text = f"No such path. The WebSocket is at {self._paths[0]}."
            return plain_response(HTTPStatus.NOT_FOUND, text, reason="path")
        if refused := _check_upgrade(headers) or self._check_origin(headers):
            return refused
        if full or draining:
            return plain_response(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "No more connections here.",
                {"Retry-After": "1"},
                reason="stopping" if draining else "full",
            )
        return None

    def negotiate(self, request: HttpRequest) -> dict[str, str]:
        """Return the headers of the 101 response for the negotiated subprotocol and compression."""
        agreed = {}
        offered = _tokens(request.headers, "Sec-WebSocket-Protocol", fold=False)
        # RFC 6455 section 4.2.2: at most one of those that the client offers; our order of preference counts.
        if chosen := next((name for name in self._subprotocols if name in offered), None):
            agreed["Sec-WebSocket-Protocol"] = chosen
        offers = (
            offer for field in request.headers.getall("Sec-WebSocket-Extensions", []) for offer in field.split(",")
        )
        if self._compression and (compression := deflate.negotiate(offers)):
            agreed["Sec-WebSocket-Extensions"] = compression
        return agreed

    def entry(self, path: str) -> str | None:
        """Return the entry of WS_PATHS that covers this path."""
        if path in self._paths:
            return path
        return next((f"{prefix}*" for prefix in self._path_prefixes if path.startswith(prefix)), None)

    def _is_websocket(self, path: str) -> bool:
        return self.entry(path) is not None and not _AMBIGUOUS.search(path)

    def _check_host(self, headers: CIMultiDict[str], server_name: str | None) -> HttpResponse | None:
        # RFC 9112 section 3.2: exactly one.
        hosts = headers.getall("Host", [])
        if len(hosts) != 1:
            return plain_response(HTTPStatus.BAD_REQUEST, "Send exactly one Host header.", reason="host")
        name = hostname(hosts[0])
        # RFC 9110 section 7.4: the connection may be meant for another host.
        return None if name in self._domain and server_name in (None, name) else MISDIRECTED

    def _check_origin(self, headers: CIMultiDict[str]) -> HttpResponse | None:
        # RFC 6455 section 10.2. Only browsers send Origin, and only they need this check.
        origins = headers.getall("Origin", [])
        if len(origins) > 1 or (origins and not self._is_allowed(origins[0].lower())):
            text = "Pages of this origin may not connect. ORIGINS lists those that may."
            return plain_response(HTTPStatus.FORBIDDEN, text, reason="origin")
        return None

    def _is_allowed(self, origin: str) -> bool:
        return (
            self._any_origin
            or origin in self._origins
            or any(origin.startswith(start) and origin.endswith(end) for start, end in self._wildcard_origins)
        )


_UPGRADE_HEADERS = {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
_NO_UPGRADE = plain_response(
    HTTPStatus.UPGRADE_REQUIRED,
    "This is a WebSocket. Connect with a WebSocket client; a proxy before this server"
    " must pass on the Upgrade and Connection headers.",
    _UPGRADE_HEADERS,
    reason="upgrade",
)
_WRONG_VERSION = plain_response(
    HTTPStatus.UPGRADE_REQUIRED,
    "Only version 13 of the WebSocket protocol is supported here.",
    _UPGRADE_HEADERS,
    reason="version",
)
_WRONG_KEY = plain_response(HTTPStatus.BAD_REQUEST, "Send one Sec-WebSocket-Key: 16 bytes in base64.", reason="key")


def _check_upgrade(headers: CIMultiDict[str]) -> HttpResponse | None:
    if "websocket" not in _tokens(headers, "Upgrade") or "upgrade" not in _tokens(headers, "Connection"):
        return _NO_UPGRADE
    if headers.getall("Sec-WebSocket-Version", []) != ["13"]:
        return _WRONG_VERSION
    keys = headers.getall("Sec-WebSocket-Key", [])
    return None if len(keys) == 1 and _KEY.fullmatch(keys[0]) else _WRONG_KEY


# Cached, because clients send the same.
@lru_cache(maxsize=128)
def hostname(host: str) -> str:
    """Return the name in a Host header without port and brackets, in lower case; empty if it is malformed."""
    if host.startswith("["):
        address, _, port = host[1:].partition("]")
        with suppress(ValueError):  # in the canonical form of RFC 5952, as in the settings
            return str(IPv6Address(address)) if _PORT.fullmatch(port) else ""
    name, colon, port = host.partition(":")
    # The root of the DNS may be written (RFC 3986 section 3.2.2).
    return name.removesuffix(".").lower() if _PORT.fullmatch(colon + port) else ""


def _tokens(headers: CIMultiDict[str], name: str, *, fold: bool = True) -> set[str]:
    tokens = ",".join(headers.getall(name, ()))
    return {token.strip() for token in (tokens.lower() if fold else tokens).split(",")}
