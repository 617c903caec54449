"""Accepts connections on a listening socket, and inspects the first bytes before TLS starts.

TLS would answer a plain `http://` or `ws://` client with an alert that it cannot read, and an unknown server name with
a certificate that does not match. The bytes are peeked (MSG_PEEK), so that the TLS handshake still reads them.
"""

import asyncio
import errno
import logging
import os
import socket
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiofastnet

from wss.handshake.forwarded import normalize_address
from wss.handshake.request_head import (
    LINGER,
    TLS_HANDSHAKE,
    AcceptedConnection,
    Limits,
    Prepare,
    ProtocolFactory,
    RequestHeadReader,
)
from wss.handshake.responses import MISDIRECTED, plain_response
from wss.net.certificate import Certificate
from wss.net.client_hello import alert_for, server_name

log = logging.getLogger("wss.listener")

# Seconds that a client has to answer close_notify before TCP is closed; many clients never answer it.
CLOSE_NOTIFY_TIMEOUT = 1.0
# Bytes of each of the two buffers of a TLS connection: two records (RFC 8446 section 5.2), with aiofastnet's margin.
# Its default of 16 records costs more CPU for messages of 64 KB; a client that has once sent one occupies all of it.
TLS_BUFFER = 2 * ((1 << 14) + 64)
# Connections that the kernel queues while the event loop is busy. It caps this at net.core.somaxconn (default: 4096).
BACKLOG = 4096
# Connections that are accepted in one turn of the event loop. The others wait in the kernel, so that a thousand clients
# who return at once delay the messages of those that stayed by a few handshakes, not by a thousand.
ACCEPTS_PER_TURN = 8

# RFC 8446 section 5.1: bytes.
_RECORD_HEADER = 5
_MAX_RECORD = _RECORD_HEADER + (1 << 14)


_NO_TLS = plain_response(
    HTTPStatus.BAD_REQUEST,
    "This port speaks TLS. Use wss:// instead of ws://, and https:// instead of http://.",
    reason="no_tls",
)


def listening_socket(port: int) -> socket.socket:
    """Return a socket on all addresses, also IPv6 if the host has it; several sockets may share the port."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(
            ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG, reuse_port=True
        )
    all_addresses = ("0.0.0.0", port)  # noqa: S104  # in a container, Compose decides which ports are published
    return socket.create_server(all_addresses, backlog=BACKLOG, reuse_port=True)


class _TcpSocket(socket.socket):
    """Has plain attributes. socket.socket makes enums of them at each access: a twentieth of the work for a client."""

    __slots__ = ()
    type = socket.SOCK_STREAM


class _Ipv4Socket(_TcpSocket):
    __slots__ = ()
    family = socket.AF_INET


class _Ipv6Socket(_TcpSocket):
    __slots__ = ()
    family = socket.AF_INET6


def _close_sockets_of(port: int) -> None:
    """Close all sockets of a port, in a forked child: connections that the parent closes would stay open there."""
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if link.is_socket():
                descriptor = int(link.name)
                with socket.socket(fileno=os.dup(descriptor)) as copy:
                    is_ours = copy.family in (socket.AF_INET, socket.AF_INET6) and copy.getsockname()[1] == port
                if is_ours:
                    os.close(descriptor)


class Listener:
    """Accepts connections on one socket until it is closed; open connections continue."""

    def __init__(
        self,
        protocol_factory: ProtocolFactory,
        *,
        sock: socket.socket,
        certificate: Certificate | None,
        domain: frozenset[str],
        limits: Limits,
        refused: Callable[[str], None],
        prepare: Prepare | None = None,
    ) -> None:
        self._protocol_factory = protocol_factory
        self._socket = sock
        self._new_socket = _Ipv6Socket if sock.family == socket.AF_INET6 else _Ipv4Socket
        self._certificate = certificate
        self._domain = domain
        self._limits = limits
        self._refused = refused  # called with the reason, in one word
        self._prepare = prepare
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[Any]] = set()
        os.register_at_fork(after_in_child=partial(_close_sockets_of, sock.getsockname()[1]))
        self._socket.setblocking(False)
        self._resume()

    def stop_accepting(self) -> None:
        """Release the port at once; handshakes in progress continue."""
        if self._is_open:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def close(self) -> None:
        """Release the port at once, and cancel TLS handshakes in progress."""
        self.stop_accepting()
        if self._certificate:  # a plain connection opens in the next turn, and then has its own time limit
            for task in self._opening:
                task.cancel()

    @property
    def _is_open(self) -> bool:
        return self._socket.fileno() >= 0

    def _resume(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                descriptor, address = self._socket._accept()  # type: ignore[attr-defined]  # as socket.accept does
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                # The socket stays readable: without a pause, this would be a busy loop.
                log.error("cannot accept connections for now: %s. Raise the limit of open files", error.strerror)
                self._loop.remove_reader(self._socket)
                self._loop.call_later(1, self._resume)
                return
            connection = self._new_socket(self._new_socket.family, socket.SOCK_STREAM, 0, descriptor)
            accepted = AcceptedConnection(normalize_address(address[0]), self._loop.time())
            opening: Coroutine[Any, Any, Any] = (
                self._open_tls(connection, accepted, self._certificate)
                if self._certificate
                else self._loop.connect_accepted_socket(partial(self._reader, accepted), connection)
            )
            task = self._loop.create_task(opening)
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def _reader(self, accepted: AcceptedConnection) -> RequestHeadReader:
        return RequestHeadReader(self._protocol_factory, accepted, self._limits, self._refused, self._prepare)

    async def _open_tls(
        self, connection: socket.socket, accepted: AcceptedConnection, certificate: Certificate
    ) -> None:
        """Inspect the ClientHello, and finish the TLS handshake."""
        connection.setblocking(False)
        protocol_factory: Callable[[], asyncio.BaseProtocol] = partial(self._reader, accepted)
        misdirected = handed_over = False
        try:
            async with asyncio.timeout(self._limits.timeout):
                if client_hello := await self._client_hello(connection, accepted.peer):
                    accepted.server_name = server_name(client_hello)
                    if misdirected := self._is_misdirected(accepted.server_name, accepted.peer):
                        protocol_factory = partial(_Misdirected, self._limits.timeout)
                    handed_over = True
                    await self._start_tls(certificate.context, protocol_factory, connection, client_hello)
        except TimeoutError:
            self._refused("timeout")
            log.info("%s did not finish the TLS handshake in %.0f s", accepted.peer, self._limits.timeout)
        except OSError as error:  # also ssl.SSLError: the client or the server rejected the handshake
            if not misdirected:  # which is counted already
                self._refused("tls")
            log.info(
                "connection from %s failed before it was open: %s", accepted.peer, str(error) or type(error).__name__
            )
        finally:
            # A transport closes its socket itself, later: by then, the descriptor must not belong to another client.
            if not handed_over:
                connection.close()

    async def _client_hello(self, connection: socket.socket, peer: str) -> bytes:
        """Return the first TLS record without consuming it. If it is not TLS, respond with 400 and return b""."""
        first = await self._peek(connection, 1)
        if not first:
            return b""  # closed without sending a byte: a port check
        if first[0] == TLS_HANDSHAKE:
            if len(first) < _RECORD_HEADER:
                first = await self._peek(connection, _RECORD_HEADER)
            size = _RECORD_HEADER + int.from_bytes(first[3:5], "big")
            if len(first) < size:
                first = await self._peek(connection, size)
            return first[:size]
        self._refused(_NO_TLS.reason)
        log.warning("%s did not speak TLS, which this port requires: responded with 400. Use wss://", peer)
        with suppress(OSError):  # also TimeoutError: the response was sent, or the client is gone
            connection.send(_NO_TLS.to_bytes())
            connection.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(LINGER):
                await self._drain(connection)
        return b""

    def _is_misdirected(self, name: str | None, peer: str) -> bool:
        if name is None or name in self._domain:
            return False
        self._refused(MISDIRECTED.reason)
        log.warning("%s requested server name %r, which is not in DOMAIN: responds with 421", peer, name)
        return True

    async def _start_tls(
        self,
        tls: ssl.SSLContext,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        connection: socket.socket,
        client_hello: bytes,
    ) -> None:
        with connection.dup() as spare:
            try:
                await aiofastnet.connect_accepted_socket(
                    self._loop,
                    protocol_factory,
                    connection,
                    ssl=tls,
                    ssl_shutdown_timeout=CLOSE_NOTIFY_TIMEOUT,
                    ssl_incoming_bio_size=TLS_BUFFER,
                    ssl_outgoing_bio_size=TLS_BUFFER,
                )
            except ssl.SSLError:
                # The transport closes the connection without sending the alert.
                spare.send(alert_for(tls, client_hello))
                raise

    async def _peek(self, connection: socket.socket, size: int) -> bytes:
        """Return at least the first `size` bytes without consuming them; fewer if the client closes first."""
        with suppress(BlockingIOError):  # no byte is there yet
            peeked = connection.recv(_MAX_RECORD, socket.MSG_PEEK)
            if len(peeked) >= size or not peeked:
                return peeked
        # No polling: the socket becomes readable when it has this many bytes (socket(7)). The default is 1.
        if size > 1:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
        await self._wait_readable(connection)
        if size > 1:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        return connection.recv(_MAX_RECORD, socket.MSG_PEEK)

    async def _drain(self, connection: socket.socket) -> None:
        """Read until EOF: closing with unread bytes would reset the connection and lose the response."""
        while await self._loop.sock_recv(connection, 65536):
            pass

    async def _wait_readable(self, connection: socket.socket) -> None:
        readable = self._loop.create_future()
        self._loop.add_reader(connection, self._wake, readable)
        try:
            await readable
        finally:
            self._loop.remove_reader(connection)

    @staticmethod
    def _wake(waiting: asyncio.Future[None]) -> None:
        if not waiting.done():
            waiting.set_result(None)


class _Misdirected(asyncio.Protocol):
    """Responds with 421 to a client with an unknown server name, if it accepts the certificate."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._deadline = asyncio.get_running_loop().call_later(self._timeout, transport.abort)

    def data_received(self, _: bytes) -> None:
        self._transport.write(MISDIRECTED.to_bytes())
        self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self._deadline.cancel()
