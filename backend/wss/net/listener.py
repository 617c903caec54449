"""From a listening socket to connections, with a look at the first bytes before TLS starts.

TLS would answer a plain `http://` or `ws://` client with an alert that it cannot read, and a foreign server name with
a certificate that cannot fit. Looking does not consume (MSG_PEEK): the handshake that follows sees every byte.
"""

import asyncio
import errno
import logging
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiofastnet

from wss.handshake.forwarded import readable
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
from wss.net.client_hello import refusal, server_name

log = logging.getLogger("wss.listener")

# Seconds that a client has to answer the end of TLS (close_notify) before TCP is closed; many never do.
CLOSE_NOTIFY_TIMEOUT = 1.0
# Connections that the kernel completes while the loop is busy. It is capped by net.core.somaxconn, 4096 by default.
BACKLOG = 4096

# RFC 8446 section 5.1: bytes.
_RECORD_HEADER = 5
_LONGEST_RECORD = _RECORD_HEADER + (1 << 14)


_NO_TLS = plain_response(
    HTTPStatus.BAD_REQUEST,
    "This port speaks TLS. Use wss:// instead of ws://, and https:// instead of http://.",
    reason="no_tls",
)


def listening_socket(port: int) -> socket.socket:
    """Return a socket on all addresses, IPv6 too where there is IPv6; several sockets may share the port."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(
            ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG, reuse_port=True
        )
    everywhere = ("0.0.0.0", port)  # noqa: S104  # in a container, Compose decides what is published
    return socket.create_server(everywhere, backlog=BACKLOG, reuse_port=True)


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
    """Accepts on one socket until closed; connections that are open by then go on."""

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
        self._certificate = certificate
        self._domain = domain
        self._limits = limits
        self._refused = refused  # is told the reason, in one word
        self._prepare = prepare
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        os.register_at_fork(after_in_child=partial(_close_sockets_of, sock.getsockname()[1]))
        self._socket.setblocking(False)
        self._resume()

    def stop_accepting(self) -> None:
        """Release the port at once; handshakes that are under way go on."""
        if self._is_open:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def close(self) -> None:
        """Release the port at once, and give up handshakes that are under way."""
        self.stop_accepting()
        for task in self._opening:
            task.cancel()

    @property
    def _is_open(self) -> bool:
        return self._socket.fileno() >= 0

    def _resume(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        for _ in range(BACKLOG):
            try:
                connection, address = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                # The socket stays readable: without a pause this would spin.
                log.error("cannot accept connections for now: %s. Raise the limit of open files", error.strerror)
                self._loop.remove_reader(self._socket)
                self._loop.call_later(1, self._resume)
                return
            accepted = AcceptedConnection(readable(address[0]), self._loop.time())
            task = self._loop.create_task(self._open(connection, accepted))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket, accepted: AcceptedConnection) -> None:
        connection.setblocking(False)
        protocol_factory: Callable[[], asyncio.BaseProtocol] = partial(
            RequestHeadReader, self._protocol_factory, accepted, self._limits, self._refused, self._prepare
        )
        misdirected = handed_over = False
        try:
            if self._certificate is None:
                handed_over = True
                await aiofastnet.connect_accepted_socket(self._loop, protocol_factory, connection)
                return
            async with asyncio.timeout(self._limits.timeout):
                if client_hello := await self._client_hello(connection, accepted.peer):
                    if misdirected := self._is_misdirected(client_hello, accepted.peer):
                        protocol_factory = partial(_Misdirected, self._limits.timeout)
                    handed_over = True
                    await self._start_tls(self._certificate.context, protocol_factory, connection, client_hello)
        except TimeoutError:
            self._refused("timeout")
            log.info("%s did not finish the TLS handshake in %.0f s", accepted.peer, self._limits.timeout)
        except OSError as error:  # also ssl.SSLError: the client refused us, or we the client
            if not misdirected:  # that is counted already
                self._refused("tls")
            log.info(
                "connection from %s failed before it was open: %s", accepted.peer, str(error) or type(error).__name__
            )
        finally:
            # A transport closes its socket itself, some time later: its descriptor must not be another client's then.
            if not handed_over:
                connection.close()

    async def _client_hello(self, connection: socket.socket, peer: str) -> bytes:
        """Return the first TLS record, unconsumed; or answer what is no TLS, and return nothing."""
        first = await self._peek(connection, 1)
        if not first:
            return b""  # closed without a word: a port check
        if first[0] == TLS_HANDSHAKE:
            if len(first) < _RECORD_HEADER:
                first = await self._peek(connection, _RECORD_HEADER)
            size = _RECORD_HEADER + int.from_bytes(first[3:5], "big")
            if len(first) < size:
                first = await self._peek(connection, size)
            return first[:size]
        self._refused(_NO_TLS.reason)
        log.warning("%s did not speak TLS, which this port needs: answered 400, use wss://", peer)
        with suppress(OSError):  # also TimeoutError: it got its answer, or does not want it
            connection.send(_NO_TLS.to_bytes())
            connection.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(LINGER):
                await self._drain(connection)
        return b""

    def _is_misdirected(self, client_hello: bytes, peer: str) -> bool:
        name = server_name(client_hello)
        if name is None or name in self._domain:
            return False
        self._refused(MISDIRECTED.reason)
        log.warning("%s asked for server name %r, which DOMAIN does not list: answered 421", peer, name)
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
                    self._loop, protocol_factory, connection, ssl=tls, ssl_shutdown_timeout=CLOSE_NOTIFY_TIMEOUT
                )
            except ssl.SSLError:
                # The transport closes without the alert that tells the client why.
                spare.send(refusal(tls, client_hello))
                raise

    async def _peek(self, connection: socket.socket, size: int) -> bytes:
        """Return at least the first `size` bytes, without consuming them; fewer where the client closed before."""
        # The socket becomes readable only when that much is there (socket(7)): no polling. By default it is one byte.
        if size > 1:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
        await self._readable(connection)
        if size > 1:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        return connection.recv(_LONGEST_RECORD, socket.MSG_PEEK)

    async def _drain(self, connection: socket.socket) -> None:
        """Read to the end: closing with unread bytes would reset the connection and lose the answer."""
        while await self._loop.sock_recv(connection, 65536):
            pass

    async def _readable(self, connection: socket.socket) -> None:
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
    """Serves a client that named another server in the handshake: 421, if it goes on in spite of the certificate."""

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
