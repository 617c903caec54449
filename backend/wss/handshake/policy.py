"""A request in, a decision out: go on to 101, or the refusal that fits (RFC 6455 section 4.2).

picows' own check of the upgrade runs after this one and is looser in some places (two keys, versions 7 and 8, any
Host, any path) and too strict in one (`Connection: keep-alive, Upgrade`, as Firefox sends it).
"""

import binascii
from base64 import b64decode
from contextlib import suppress
from http import HTTPStatus
from ipaddress import IPv6Address
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from multidict import CIMultiDict
from picows.websockets import Request, Response

from wss.config.settings import Settings
from wss.handshake.forwarded import strip_forwarded
from wss.handshake.page import Page
from wss.handshake.request_head import NOT_SERVED_HERE
from wss.protocol import deflate

HEALTH_PATH = "/healthz"
# For a proxy that looks for a replica with room: one that is full is healthy, but not ready for more.
READY_PATH = "/readyz"
PAGE_PATH = "/"


class Refusal(NamedTuple):
    """An answer that is no websocket."""

    reason: str
    """One word for the metrics; empty where nothing was refused: the health path or the page was asked for."""
    response: Response


class Handshake:
    """The policy for the requests of one server."""

    def __init__(self, settings: Settings) -> None:
        self._domain = settings.domain
        self._any_origin = not settings.origins
        self._origins = {origin for origin in settings.origins if "*" not in origin}
        # https://*.example.com as its two ends.
        self._wild_origins = [origin.split("*") for origin in settings.origins if "*" in origin]
        self._paths = settings.ws_paths
        self._page = Page(settings.page) if settings.page else None
        self._behind_a_proxy = bool(settings.trusted_proxies)
        self._subprotocols = settings.subprotocols
        self._compression = settings.compression

    def refuse(
        self, request: Request, *, full: bool = False, draining: bool = False, degraded_reason: str = ""
    ) -> Refusal | None:
        """Return the answer that is no websocket, or None to go on.

        A server that is full, or about to end, takes no more websockets: 503 makes a proxy try another one.
        `degraded_reason` is for the health path, if all else goes on.
        """
        headers = request.headers
        strip_forwarded(headers, behind_a_proxy=self._behind_a_proxy)
        if not request.path.startswith("/"):
            # RFC 9112 section 3.2.2: a whole URL is to be accepted, and its host counts.
            try:
                target = urlsplit(request.path)
            except ValueError:
                return refusal("target", HTTPStatus.BAD_REQUEST, "The request target is no URL.")
            headers["Host"], request.path = target.netloc, urlunsplit(("", "", target.path or "/", target.query, ""))
        path = request.path.partition("?")[0]
        if refused := self._check_host(headers):
            return refused
        if path == HEALTH_PATH:
            if draining:
                return refusal("", HTTPStatus.SERVICE_UNAVAILABLE, "stopping")
            return refusal("", HTTPStatus.OK, degraded_reason or "ok")
        if path == READY_PATH:
            return refusal(
                "", *((HTTPStatus.SERVICE_UNAVAILABLE, "no room") if full or draining else (HTTPStatus.OK, "ok"))
            )
        if self._page and path == PAGE_PATH and "Upgrade" not in headers:
            return Refusal("", self._page.response())
        if path not in self._paths:
            return refusal("path", HTTPStatus.NOT_FOUND, f"No such path. The WebSocket is at {self._paths[0]}.")
        if refused := _check_upgrade(headers) or self._check_origin(headers):
            return refused
        if full or draining:
            return refusal(
                "stopping" if draining else "full",
                HTTPStatus.SERVICE_UNAVAILABLE,
                "No more connections here.",
                {"Retry-After": "1"},
            )
        headers["Connection"] = "Upgrade"
        headers["Upgrade"] = "websocket"
        return None

    def negotiate(self, request: Request) -> dict[str, str]:
        """Return the headers of the 101 by which subprotocol and compression are agreed on."""
        agreed = {}
        offered = _tokens(request.headers, "Sec-WebSocket-Protocol", fold=False)
        # RFC 6455 section 4.2.2: at most one, and one that was offered; our order counts.
        if chosen := next((name for name in self._subprotocols if name in offered), None):
            agreed["Sec-WebSocket-Protocol"] = chosen
        offers = (
            offer for field in request.headers.getall("Sec-WebSocket-Extensions", []) for offer in field.split(",")
        )
        if self._compression and (compression := deflate.answer_to(offers)):
            agreed["Sec-WebSocket-Extensions"] = compression
        return agreed

    def _check_host(self, headers: CIMultiDict[str]) -> Refusal | None:
        # RFC 9112 section 3.2: exactly one. RFC 9110 section 7.4: 421 for a host that is not served here.
        hosts = headers.getall("Host", [])
        if len(hosts) != 1:
            return refusal("host", HTTPStatus.BAD_REQUEST, "Send exactly one Host header.")
        if hostname(hosts[0]) not in self._domain:
            return refusal("host", HTTPStatus.MISDIRECTED_REQUEST, NOT_SERVED_HERE)
        return None

    def _check_origin(self, headers: CIMultiDict[str]) -> Refusal | None:
        # RFC 6455 section 10.2. Only browsers send Origin, and only they need to be held to it.
        origins = headers.getall("Origin", [])
        if not all(self._is_allowed(origin.lower()) for origin in origins):
            return refusal(
                "origin", HTTPStatus.FORBIDDEN, "Pages of this origin may not connect. ORIGINS lists those that may."
            )
        return None

    def _is_allowed(self, origin: str) -> bool:
        return (
            self._any_origin
            or origin in self._origins
            or any(origin.startswith(start) and origin.endswith(end) for start, end in self._wild_origins)
        )


def _check_upgrade(headers: CIMultiDict[str]) -> Refusal | None:
    if "websocket" not in _tokens(headers, "Upgrade") or "upgrade" not in _tokens(headers, "Connection"):
        return refusal(
            "upgrade",
            HTTPStatus.UPGRADE_REQUIRED,
            "This is a WebSocket. Connect with a WebSocket client; a proxy before this server"
            " must pass on the Upgrade and Connection headers.",
            {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
        )
    if headers.getall("Sec-WebSocket-Version", []) != ["13"]:
        return refusal(
            "version",
            HTTPStatus.UPGRADE_REQUIRED,
            "Only version 13 of the WebSocket protocol is spoken here.",
            {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
        )
    keys = headers.getall("Sec-WebSocket-Key", [])
    if len(keys) != 1 or not _is_key(keys[0]):
        return refusal("key", HTTPStatus.BAD_REQUEST, "Send one Sec-WebSocket-Key: 16 bytes in base64.")
    return None


def hostname(host: str) -> str:
    """Return the name in a Host header without port and brackets, in lower case."""
    if host.startswith("["):
        with suppress(ValueError):  # in the one spelling of RFC 5952, as in the settings
            return str(IPv6Address(host[1:].partition("]")[0]))
    return host.partition(":")[0].lower()


def _tokens(headers: CIMultiDict[str], name: str, *, fold: bool = True) -> set[str]:
    tokens = (token.strip() for value in headers.getall(name, []) for token in value.split(","))
    return {token.lower() if fold else token for token in tokens}


def _is_key(value: str) -> bool:
    try:
        return len(b64decode(value.encode("ascii"), validate=True)) == 16
    except (UnicodeEncodeError, binascii.Error):
        return False


def refusal(reason: str, status: HTTPStatus, text: str, headers: dict[str, str] | None = None) -> Refusal:
    """Return an answer in plain text."""
    fields: CIMultiDict[str] = CIMultiDict({"Content-Type": "text/plain; charset=utf-8", **(headers or {})})
    return Refusal(reason, Response(status.value, status.phrase, fields, f"{text}\n".encode()))
