"""What becomes of a connection that was accepted: handshake, websocket, handler; and how all of them end."""

import asyncio
import logging
import socket
import time
from collections.abc import Coroutine
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

import picows
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # the stub leaves it out
from picows.websockets import ConnectionClosed, Request, Response

from wss.config.settings import Settings
from wss.connection.client import peer_address
from wss.connection.connection import Connection, Handler
from wss.connection.keepalive import Keepalive
from wss.connection.sending import FlushScheduler
from wss.handshake.client_certificate import ClientCertificate, from_headers, from_peercert
from wss.handshake.forwarded import forwarded_client, is_trusted
from wss.handshake.policy import Handshake, Refusal, refusal
from wss.handshake.rate_limits import AddressLimits
from wss.handshake.request_head import AcceptedConnection, Limits
from wss.net.certificate import Certificate
from wss.net.listener import Listener
from wss.observability.metrics import Metrics
from wss.observability.status import broadcast_command

if TYPE_CHECKING:  # where no handler needs it, it is not loaded
    from wss.rooms import Rooms

log = logging.getLogger("wss.server")
# picows reports every accept and every broken frame; of an adapter it does not make another Logger for each connection.
_picows_log = logging.LoggerAdapter(logging.getLogger("wss.picows"))
_picows_log.setLevel(logging.CRITICAL)

# Bytes: what is longer, picows would not answer but drop.
_LONGEST_HEAD = 16 * 1024 - 1
# Bytes that each connection has for what it receives, to begin with; picows doubles them whenever they are too few.
_READ_BUFFER = 2048
# What a proxy asks for that is about to end, as it cannot send close frames itself; and what workers tell each other.
PROXY_DRAINING_PATH = "/internal/proxy-draining"
PROXY_DRAINING = "proxy-leaves"
SERVICE_RESTART = (1012, "server is restarting")
# Seconds that accepted clients have for their handshake when another worker takes over.
HANDOVER = 1.0


class WebSocketServer:
    """One handler on one listening socket; runs in a Loop of wss.net."""

    def __init__(self, handler: Handler, settings: Settings, metrics: Metrics, rooms: "Rooms | None" = None) -> None:
        self._settings = settings
        self._metrics = metrics
        self._handshake = Handshake(settings)
        self._handler = handler
        self._rooms = rooms
        self._handling: dict[Connection, asyncio.Task[None]] = {}
        self._begun: set[asyncio.Task[None]] = set()
        self._flush_scheduler = FlushScheduler()
        self._address_limits = AddressLimits(settings.max_connections_per_address, settings.max_handshakes_per_address)
        self._keepalive = Keepalive(settings.ping_interval, settings.ping_timeout)
        # RFC 6797; behind a proxy, that says it.
        self._in_every_answer = {"Strict-Transport-Security": "max-age=63072000"} if settings.hsts else {}
        self._draining = False
        self._certificate: Certificate | None = None

    async def listen(self, sock: socket.socket, certificate: Certificate | None) -> None:
        """Accept connections from now on."""
        self._certificate = certificate
        self._listener = Listener(
            self._protocol,
            sock=sock,
            certificate=certificate,
            domain=self._settings.domain,
            limits=Limits(min(self._settings.max_header, _LONGEST_HEAD), self._settings.handshake_timeout),
            refused=self._metrics.refused,
        )
        self._pinging = asyncio.create_task(self._keepalive.keep())

    def _protocol(self, accepted: AcceptedConnection) -> WSProtocol:
        """Return picows' protocol for a connection, as picows.ws_create_server makes it (2.3.1)."""
        return WSProtocol(
            None,  # host and port: of a client
            None,  # path: of a client
            False,  # is_client_side
            partial(self._answer, accepted),
            _picows_log,
            True,  # disconnect_on_exception
            self._settings.handshake_timeout,
            False,  # enable_auto_ping: pings and pongs are Connection's, which knows when a client does not read
            0,  # auto_ping_idle_timeout
            0,  # auto_ping_reply_timeout
            picows.WSAutoPingStrategy.PING_WHEN_IDLE,
            False,  # enable_auto_pong
            self._settings.max_message,
            None,  # extra_headers: of a client
            _READ_BUFFER,
        )

    @property
    def connections(self) -> list[Connection]:
        """The open websockets, the oldest first."""
        return [connection for connection in self._handling if connection.is_open]

    async def hand_over(self) -> None:
        """Stop accepting, as another process does, and let those in that are on their way."""
        self._listener.stop_accepting()
        await asyncio.sleep(HANDOVER)

    async def drain(self, code: int, reason: str, patience: float) -> None:
        """Release the port, close every client, and wait for the handlers, but no longer than `patience` seconds.

        The close frames are spread over a time of their own, so that not all clients come back in the same instant.
        """
        self._draining = True
        self._listener.close()
        try:
            async with asyncio.timeout(patience):
                await self._close_all(self.connections, code, reason)
                if handlers := list(self._handling.values()):
                    await asyncio.wait(handlers)
        except TimeoutError:
            log.warning("%d handlers did not end within %.0f s: cut", len(self._handling), patience)
        finally:
            self._pinging.cancel()

    def close_clients_of_proxy(self, proxy: str) -> dict[str, int]:
        """Close the clients that came by a proxy of this address; return how many."""
        connections = [connection for connection in self.connections if peer_address(connection) == proxy]
        if connections and not self._draining:
            log.info("the proxy %s leaves: closing its %d connections", proxy, len(connections))
            self._begin(self._close_all(connections, *SERVICE_RESTART))
        return {"closing": len(connections)}

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        # The loop itself keeps no task alive: https://docs.python.org/3/library/asyncio-task.html#asyncio.create_task
        task = asyncio.create_task(work)
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)

    async def _close_all(self, connections: list[Connection], code: int, reason: str) -> None:
        pause = self._settings.stop_spread / max(len(connections) - 1, 1)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        async with asyncio.TaskGroup() as closing:
            for number, connection in enumerate(connections):
                # As many as are due: a pause after each would be a turn of the loop at least, and a busy one is slow.
                early = begun + number * pause - loop.time()
                if early > 0:
                    await asyncio.sleep(early)
                closing.create_task(connection.close(code, reason))

    @property
    def draining(self) -> bool:
        return self._draining

    def _answer(
        self, accepted: AcceptedConnection, upgrade: picows.WSUpgradeRequest
    ) -> picows.WSUpgradeResponseWithListener:
        try:
            return self._decide(accepted, upgrade)
        except Exception:  # ours: picows would tell the client what it was, and nobody else
            log.exception("a handshake failed")
            refused = refusal("error", HTTPStatus.INTERNAL_SERVER_ERROR, "internal error")
            return picows.WSUpgradeResponseWithListener(refused.response.to_picows(), None)

    def _decide(
        self, accepted: AcceptedConnection, upgrade: picows.WSUpgradeRequest
    ) -> picows.WSUpgradeResponseWithListener:
        accepted.decided = True
        request = Request.from_picows(upgrade)
        full = len(self._handling) >= self._settings.max_connections
        refused = self._handshake.refuse(
            request, full=full, draining=self._draining, degraded_reason=self.degraded_reason
        )
        client, presented = accepted.peer, from_peercert(accepted.certificate)
        if is_trusted(accepted.peer, self._settings.trusted_proxies):
            if request.path == PROXY_DRAINING_PATH:
                assert self._settings.run_dir
                self._begin(broadcast_command(self._settings.run_dir, PROXY_DRAINING, accepted.peer))
                ok = refusal("", HTTPStatus.OK, "your clients are asked to come back another way")
                return picows.WSUpgradeResponseWithListener(ok.response.to_picows(), None)
            client, presented = forwarded_client(accepted.peer, request.headers), from_headers(request.headers)
        refused = refused or self._check_address(client) or self._check_certificate(presented)
        if refused:
            if refused.reason:
                self._metrics.refused(refused.reason)
            refused.response.headers.update(self._in_every_answer)
            return picows.WSUpgradeResponseWithListener(refused.response.to_picows(), None)
        agreed = self._handshake.negotiate(request) | self._in_every_answer
        response = Response.from_picows(picows.WSUpgradeResponse.create_101_response(agreed))
        connection = Connection(
            self._settings,
            self._metrics,
            self._address_limits,
            self._flush_scheduler,
            request,
            response,
            client=client,
            certificate=presented,
            accepted=accepted.time,
            opened=self._start,
            ended=self._end,
        )
        return picows.WSUpgradeResponseWithListener(response.to_picows(), connection)

    def _check_certificate(self, presented: ClientCertificate | None) -> Refusal | None:
        if self._certificate and self._certificate.is_wanted_of_clients and presented is None:
            text = "A client certificate is needed here."
            return refusal("certificate", HTTPStatus.FORBIDDEN, text)
        return None  # behind a proxy, that sees to it

    def _check_address(self, client: str) -> Refusal | None:
        if self._address_limits.is_too_fast(client, time.monotonic()):
            text = "Too many handshakes from your address. Wait a minute."
            return refusal("rate", HTTPStatus.TOO_MANY_REQUESTS, text, {"Retry-After": "60"})
        if self._address_limits.is_full(client):
            text = "Too many connections from your address."
            return refusal("address", HTTPStatus.TOO_MANY_REQUESTS, text, {"Retry-After": "1"})
        return None

    @property
    def degraded_reason(self) -> str:
        """What is wrong, although it serves; empty where nothing is."""
        return "" if self._rooms is None or self._rooms.is_connected else "degraded: the hub is away"

    def _start(self, connection: Connection) -> None:
        if self._rooms:
            self._rooms.enter(connection)
        self._keepalive.watch(connection)
        self._handling[connection] = asyncio.get_running_loop().create_task(self._handle(connection))

    def _end(self, connection: Connection) -> None:
        if self._rooms:
            self._rooms.exit(connection)

    async def _handle(self, connection: Connection) -> None:
        try:
            await connection.close(await self._close_code_of(connection))
        finally:
            del self._handling[connection]

    async def _close_code_of(self, connection: Connection) -> int:
        """Run the handler, and return how to close after it."""
        try:
            await self._handler(connection)
        except ConnectionClosed:
            pass  # the client left while the handler was sending or waiting: no fault of the handler
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task:
                if task.cancelling() and self._draining:
                    raise  # the server ends it
                while task.uncancel():  # cancelled by somebody else: the client still needs a close frame
                    pass
            log.exception("the handler failed on %s: closing its connection with 1011", connection.path)
            return 1011
        return 1000
