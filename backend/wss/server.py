"""Accepts connections and decides on their requests: a websocket, or a response that is none."""

import asyncio
import logging
import socket
import time
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from functools import lru_cache, partial
from http import HTTPStatus
from typing import Any

import picows
from multidict import CIMultiDict
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # the stub leaves it out

from wss.application import Application
from wss.config.settings import Settings
from wss.connection.client_rate import BoundedProtocol, client_rates
from wss.connection.connection import Connection, ConnectionLimits
from wss.connection.deadlines import Deadlines
from wss.connection.drains import Drain, Drains
from wss.connection.keepalive import Keepalive
from wss.connection.plugins import Plugin
from wss.connection.sender import FlushScheduler
from wss.handshake.client_certificate import ClientCertificate, from_headers, from_peercert
from wss.handshake.forwarded import forwarded_client, is_trusted
from wss.handshake.picows_protocol import new_protocol
from wss.handshake.policy import Handshake, sanitized
from wss.handshake.rate_limits import AddressLimits
from wss.handshake.request import HttpRequest
from wss.handshake.request_head import MAX_HEADERS, AcceptedConnection, Limits
from wss.handshake.responses import HttpResponse, SwitchingProtocols, plain_response
from wss.handshake.revocation import Revocations
from wss.net.certificate import Certificate
from wss.net.listener import Listener
from wss.observability.control_socket import broadcast_command
from wss.observability.metrics import Metrics
from wss.protocol.close import ACCESS_ENDED
from wss.sessions import Sessions

log = logging.getLogger("wss.server")

# Bytes: picows drops a longer head without a response.
_MAX_HEAD = 16 * 1024 - 1
# Headers that a proxy adds to those of the client.
_PROXY_HEADERS = 9
# A proxy that shuts down cannot send close frames, so it requests this path and the backends close its clients.
PROXY_DRAINING_PATH = "/internal/proxy-draining"
PROXY_DRAINING = "proxy-leaves"  # the command to the other workers
SERVICE_RESTART = (1012, "server is restarting")
# Seconds that accepted clients have for their handshake when another worker takes over.
HANDOVER = 1.0

_INTERNAL_ERROR = plain_response(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error", reason="error")
_TIMEOUT = plain_response(HTTPStatus.SERVICE_UNAVAILABLE, "The application did not answer.", reason="timeout")
_PROXY_DRAINING_STARTED = plain_response(HTTPStatus.OK, "closing your clients with 1012")
_NO_CERTIFICATE = plain_response(HTTPStatus.FORBIDDEN, "A client certificate is needed here.", reason="certificate")
_REVOKED = plain_response(HTTPStatus.FORBIDDEN, "This client certificate is revoked.", reason="certificate")
_TOO_FAST = plain_response(
    HTTPStatus.TOO_MANY_REQUESTS,
    "Too many handshakes from your address. Wait a minute.",
    {"Retry-After": "60"},
    reason="rate",
)
_TOO_MANY = plain_response(
    HTTPStatus.TOO_MANY_REQUESTS,
    "Too many connections from your address.",
    {"Retry-After": "1"},
    reason="address",
)


class WebSocketServer:
    """One handler on one listening socket; runs in a Loop of wss.net."""

    def __init__(self, app: Application, settings: Settings, metrics: Metrics, plugins: Sequence[Plugin] = ()) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._plugins = plugins
        self._handshake = Handshake(settings)
        self._address_limits = AddressLimits(settings.max_connections_per_address, settings.max_handshakes_per_address)
        self._keepalive = Keepalive(settings.ping_interval, settings.ping_timeout)
        self._deadlines = Deadlines()
        self._drains = Drains(settings.stop_drain, settings.spread_of_drain, metrics.draining)
        self._sessions = Sessions(
            app.handler,
            self._label,
            metrics,
            self._address_limits,
            self._keepalive,
            self._deadlines,
            self._drains,
            plugins,
        )
        # Cached, because all clients of a proxy come from its address.
        self._is_trusted = lru_cache(maxsize=1024)(partial(is_trusted, trusted=settings.trusted_proxies))
        self._flush_scheduler = FlushScheduler()
        self._connection_limits = ConnectionLimits(
            settings.max_message,
            settings.max_fragments,
            settings.write_limit,
            settings.slow_reader_timeout,
            client_rates(settings),
        )
        self._tasks: set[asyncio.Task[None]] = set()
        # RFC 6797. Behind a proxy, the proxy adds it.
        self._common_headers = {"Strict-Transport-Security": "max-age=63072000"} if settings.hsts else {}
        # Since when STOP_DRAIN runs, as the event loop counts. New clients get 503.
        self._draining_since: float | None = None
        self._is_ending = False
        self._drains_of_proxies: dict[str, asyncio.Event] = {}  # by address; the event ends the drain
        self._has_seen_untrusted_proxy = False
        self._certificate: Certificate | None = None
        self._revocations: Revocations | None = None

    async def listen(self, sock: socket.socket, certificate: Certificate | None) -> None:
        """Accept connections from now on. Raises SettingError if CLOSE_REVOKED has no list."""
        if self._settings.close_revoked and self._settings.revoked_file:
            self._revocations = Revocations(self._settings.revoked_file)
        self._certificate = certificate
        self._listener = Listener(
            self._protocol,
            sock=sock,
            certificate=certificate,
            domain=self._settings.domain,
            limits=Limits(
                min(self._settings.max_header, _MAX_HEAD),
                self._settings.handshake_timeout,
                MAX_HEADERS + (_PROXY_HEADERS if self._settings.trusted_proxies else 0),
            ),
            refused=self._metrics.refused,
            prepare=self._prepare if self._app.process_request else None,
        )
        self._periodic = [
            asyncio.create_task(self._keepalive.keep()),
            asyncio.create_task(self._deadlines.keep()),
            asyncio.create_task(self._sessions.report_orphans()),
        ]
        if self._revocations:
            self._periodic.append(asyncio.create_task(self._revocations.follow(self._close_revoked)))

    def _protocol(self, accepted: AcceptedConnection) -> WSProtocol:
        protocol = BoundedProtocol if self._connection_limits.rates else WSProtocol
        return new_protocol(protocol, partial(self._answer, accepted), self._settings.max_message)

    def _label(self, path: str) -> str:
        """Return the route that serves a path, or else its entry of WS_PATHS: a label of metrics has few values."""
        return self._app.route(path) or self._handshake.entry(path) or ""

    @property
    def connections(self) -> list[Connection]:
        """The open websockets, the oldest first."""
        return self._sessions.connections

    @property
    def orphans(self) -> list[Connection]:
        """The connections that have ended, and whose handlers go on."""
        return self._sessions.orphans

    @property
    def draining_count(self) -> int:
        """How many open websockets are to leave: STOP_DRAIN runs for this worker, or for their proxy."""
        return sum(connection in self._drains for connection in self.connections)

    @property
    def stop_state(self) -> str:
        """Which part of a stop runs; empty if none does."""
        if self._is_ending:
            return "stopping"
        if self._draining_since is None:
            return ""
        left = self._draining_since + self._drains.limit - asyncio.get_running_loop().time()
        return f"draining, {timedelta(seconds=max(round(left), 0))} left"

    @property
    def degraded_reason(self) -> str:
        """What is wrong, although it serves; empty if nothing is."""
        return next((plugin.degraded_reason for plugin in self._plugins if plugin.degraded_reason), "")

    async def hand_over(self) -> None:
        """Stop accepting, as another process does, and finish the handshakes that have begun."""
        self._listener.stop_accepting()
        await asyncio.sleep(HANDOVER)

    async def let_clients_leave(self, over: asyncio.Event) -> None:
        """STOP_DRAIN: take no new clients; return when all have left, after that time, or when `over` is set.

        The port stays open, if it was: a proxy that gets 503 tries another replica, and can still report that it stops.
        """
        if not self._drains.limit:
            return
        self._draining_since = asyncio.get_running_loop().time()
        log.info("draining: %d connections have %.0f s to leave", len(self.connections), self._drains.limit)
        await self._sessions.let_all_leave(over)

    async def drain(self, code: int, reason: str, patience: float) -> None:
        """Release the port, close every client, and wait for the handlers, but no longer than `patience` seconds.

        The close frames are spread over STOP_SPREAD, so that not all clients reconnect in the same instant.
        """
        self._is_ending = True
        self._listener.close()
        await self._sessions.end(code, reason, spread=self._settings.stop_spread, patience=patience)
        for task in self._periodic:
            task.cancel()

    def close_clients_of_proxy(self, proxy: str) -> dict[str, int]:
        """Close the clients that came through the proxy at this address, after STOP_DRAIN; return how many there are.

        A second call ends STOP_DRAIN for this proxy.
        """
        connections = self._sessions.of_peer(proxy)
        if over := self._drains_of_proxies.get(proxy):
            over.set()
        elif connections and not self._is_ending:
            self._start_task(self._close_clients_of_proxy(proxy, connections))
        return {"closing": len(connections)}

    async def _close_clients_of_proxy(self, proxy: str, connections: list[Connection]) -> None:
        if limit := self._drains.limit:
            log.info("the proxy %s shuts down: its %d connections have %.0f s to leave", proxy, len(connections), limit)
            over = self._drains_of_proxies[proxy] = asyncio.Event()
            await self._drains.run(Drain(connections, over))
            del self._drains_of_proxies[proxy]
            connections = [connection for connection in connections if connection.is_open]
        log.info("the proxy %s shuts down: closing its %d connections", proxy, len(connections))
        await self._sessions.close(connections, *SERVICE_RESTART, self._settings.stop_spread)

    def _close_revoked(self) -> None:
        revoked = [each for each in self.connections if self._revocations and each.certificate in self._revocations]
        if revoked:
            log.info("closing %d connections: their client certificates are revoked", len(revoked))
        for connection in revoked:
            connection.close_soon(ACCESS_ENDED, "client certificate revoked")

    def _start_task(self, work: Coroutine[None, None, None]) -> None:
        # The loop itself keeps no task alive: https://docs.python.org/3/library/asyncio-task.html#asyncio.create_task
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _answer(
        self, accepted: AcceptedConnection, upgrade: picows.WSUpgradeRequest
    ) -> picows.WSUpgradeResponseWithListener:
        accepted.decided = True
        decision = accepted.decision or self._decide_safely(accepted, HttpRequest.from_picows(upgrade))
        if isinstance(decision, Connection):
            # What picows checks. RFC 9110 section 7.6.1 allows a list in Connection; picows compares the whole value.
            upgrade.headers = {  # type: ignore[assignment]  # a dict will do, and picows keeps it
                "connection": "upgrade",
                "upgrade": "websocket",
                "sec-websocket-version": "13",
                "sec-websocket-key": upgrade.headers["Sec-WebSocket-Key"],
            }
            response_101: Any = SwitchingProtocols(decision.response_headers)
            return picows.WSUpgradeResponseWithListener(response_101, decision)
        if decision.reason:
            self._metrics.refused(decision.reason)
        response = picows.WSUpgradeResponse()
        response.version, response.status, response.body = b"HTTP/1.1", decision.status, decision.body
        response.headers = CIMultiDict(decision.headers)  # of the application, it may have several of a name
        response.headers.update(self._common_headers)
        return picows.WSUpgradeResponseWithListener(response, None)

    def _parse(self, head: bytes) -> HttpRequest:
        request = HttpRequest.parse(head)
        assert request, "it was parsed before"
        return self._sanitized(request)

    def _sanitized(self, request: HttpRequest) -> HttpRequest:
        return sanitized(request, behind_a_proxy=bool(self._settings.trusted_proxies))

    async def _prepare(self, accepted: AcceptedConnection, request: HttpRequest) -> None:
        """Decide on a request, with the process_request of the application, before picows reads it."""
        decision = self._decide_safely(accepted, request)
        if isinstance(decision, Connection):
            decision = await self._ask_application(decision) or decision
        accepted.decision = decision

    async def _ask_application(self, connection: Connection) -> HttpResponse | None:
        deadline = asyncio.timeout(self._settings.handshake_timeout)
        try:
            async with deadline:
                return await self._app.refuse(connection)
        except Exception:
            if deadline.expired():
                log.warning("process_request took over %.0f s on %s", self._settings.handshake_timeout, connection.path)
                return _TIMEOUT
            log.exception("process_request failed on %s", connection.path)
            return _INTERNAL_ERROR

    def _decide_safely(self, accepted: AcceptedConnection, request: HttpRequest) -> Connection | HttpResponse:
        try:
            return self._decide(accepted, request)
        except Exception:  # ours: picows would send its text to the client, and log nothing
            log.exception("a handshake failed")
            return _INTERNAL_ERROR

    def _decide(self, accepted: AcceptedConnection, received: HttpRequest) -> Connection | HttpResponse:
        request = self._sanitized(received)
        refused = self._handshake.refuse(
            request,
            server_name=accepted.server_name,
            has_route=self._app.has_route,
            full=self._sessions.open_count >= self._settings.max_connections,
            draining=bool(self.stop_state),
            degraded_reason=self.degraded_reason,
        )
        client, certificate = accepted.peer, from_peercert(accepted.certificate)
        if self._is_trusted(accepted.peer):
            # The proxy's own request has no client. WS_PATHS can make a client's request for this path arrive here.
            if request.path == PROXY_DRAINING_PATH and "X-Real-IP" not in request.headers:
                assert self._settings.run_dir
                self._start_task(broadcast_command(self._settings.run_dir, PROXY_DRAINING, accepted.peer))
                return _PROXY_DRAINING_STARTED
            client, certificate = forwarded_client(accepted.peer, request.headers), from_headers(request.headers)
        elif self._settings.trusted_proxies and "X-Real-IP" in request.headers and not self._has_seen_untrusted_proxy:
            self._has_seen_untrusted_proxy = True
            log.warning(
                "%s sends X-Real-IP, and is not in TRUSTED_PROXIES: all its clients count as one", accepted.peer
            )
        if refused := refused or self._check_address(client) or self._check_certificate(certificate):
            return refused
        return Connection(
            self._connection_limits,
            self._flush_scheduler,
            self._sessions,
            request.target,
            self._handshake.negotiate(request) | self._common_headers,
            head=accepted.head,
            parse=self._parse,
            id_=request.headers.get("X-Request-ID", ""),
            client=client,
            certificate=certificate,
            accepted=accepted.time,
            transport=accepted.transport,
        )

    def _check_certificate(self, certificate: ClientCertificate | None) -> HttpResponse | None:
        """Refuse a client without a certificate if CLIENT_CA asks for one. Behind a proxy, the proxy does that.

        Also one whose certificate is revoked: the proxy may not have loaded the new list yet.
        """
        if self._revocations and certificate in self._revocations:
            return _REVOKED
        is_needed = self._certificate and self._certificate.requires_client_certificate
        return _NO_CERTIFICATE if is_needed and certificate is None else None

    def _check_address(self, client: str) -> HttpResponse | None:
        if self._address_limits.is_too_fast(client, time.monotonic()):
            return _TOO_FAST
        return _TOO_MANY if self._address_limits.is_full(client) else None
