"""The client's side of the bench: connections in one epoll that send, receive and compare."""

import select
import socket
import ssl
from dataclasses import dataclass

from frames import Ring

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3
BUFFER = 1 << 18
PATIENCE = 30.0  # seconds without any progress


@dataclass(frozen=True)
class Place:
    """Where the server is; `ca` and `name` where it speaks TLS, no `path` where it knows no websockets."""

    port: int
    name: str = "wss.example"
    ca: str = ""
    path: str = ""

    def context(self) -> ssl.SSLContext | None:
        if not self.ca:
            return None
        context = ssl.create_default_context(cafile=self.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context

    def connect(self, context: ssl.SSLContext | None, session: ssl.SSLSession | None = None) -> socket.socket:
        """Return a connection that is open for messages."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            connection = context.wrap_socket(connection, server_hostname=self.name, session=session)
        if self.path:
            self._upgrade(connection)
        return connection

    def _upgrade(self, connection: socket.socket) -> None:
        connection.sendall(
            f"GET {self.path} HTTP/1.1\r\nHost: {self.name}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            # Byte by byte: what comes behind the head is a message.
            if not (more := connection.recv(1)):
                raise ConnectionAbortedError(f"closed in the handshake, after {head!r}")
            head += more
        if not (head.startswith(b"HTTP/1.1 101 ") and ACCEPT in head):
            raise ConnectionAbortedError(f"no websocket: {head!r}")


class Client:
    """One connection that keeps `window` messages in flight."""

    def __init__(self, connection: socket.socket, ring: Ring, window: int) -> None:
        self.connection = connection
        self._ring = ring
        self._window = window
        self._sent = 0  # messages
        self._received = 0  # bytes
        self._pending = memoryview(b"")
        self.wants_to_write = False

    @property
    def replies(self) -> int:
        return self._received // self._ring.reply_size

    @property
    def missing(self) -> int:
        return self._sent - self.replies

    def fill(self) -> None:
        """Send as many as the window has room for."""
        count = self._window - self.missing
        if count > 0 and not self._pending:
            requests, start = self._ring.requests, self._sent
            self._pending = memoryview(b"".join(requests[(start + i) % len(requests)] for i in range(count)))
            self._sent += count
        self.flush()

    def flush(self) -> None:
        while self._pending:
            try:
                self._pending = self._pending[self.connection.send(self._pending) :]
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                self.wants_to_write = True
                return
        self.wants_to_write = False

    def read(self, buffer: memoryview) -> None:
        """Take in and verify what came; raises AssertionError for the first byte that is wrong."""
        ring = self._ring
        while True:
            try:
                size = self.connection.recv_into(buffer)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            if size == 0:
                raise ConnectionAbortedError("closed in the middle")
            position, done = self._received % ring.size, 0
            while done < size:
                part = min(size - done, 2 * ring.size - position)
                assert buffer[done : done + part] == ring.replies[position : position + part], "a reply is wrong"
                done += part
                position = (position + part) % ring.size
            self._received += size
            if size < len(buffer) and not isinstance(self.connection, ssl.SSLSocket):
                return


class Clients:
    """Many of them in one epoll."""

    def __init__(self, place: Place, ring: Ring, number: int, window: int) -> None:
        context = place.context()
        self._epoll = select.epoll()
        self._clients: dict[int, Client] = {}
        for _ in range(number):
            client = Client(place.connect(context), ring, window)
            client.connection.setblocking(False)
            self._clients[client.connection.fileno()] = client
            self._epoll.register(client.connection.fileno(), select.EPOLLIN)
        self._buffer = memoryview(bytearray(BUFFER))

    @property
    def replies(self) -> int:
        return sum(client.replies for client in self._clients.values())

    @property
    def missing(self) -> int:
        return sum(client.missing for client in self._clients.values())

    def start(self) -> None:
        for client in self._clients.values():
            self._fill(client)

    def turn(self, *, more: bool) -> None:
        """Do what can be done now; `more`: send on for what has come back."""
        events = self._epoll.poll(PATIENCE)
        if not events:
            raise TimeoutError(f"nothing came for {PATIENCE:g} s; {self.missing} replies are missing")
        for number, event in events:
            client = self._clients[number]
            if event & ~select.EPOLLOUT:
                client.read(self._buffer)
            if more or client.wants_to_write:
                self._fill(client, send=more)

    def close(self) -> None:
        for client in self._clients.values():
            client.connection.close()
        self._epoll.close()

    def _fill(self, client: Client, *, send: bool = True) -> None:
        was = client.wants_to_write
        client.fill() if send else client.flush()
        if client.wants_to_write != was:
            events = select.EPOLLIN | (select.EPOLLOUT if client.wants_to_write else 0)
            self._epoll.modify(client.connection.fileno(), events)
