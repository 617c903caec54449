"""A WebSocket client connection that exposes the handshake response, each frame and the close code."""

import codecs
import re
import secrets
import ssl
import time
from contextlib import suppress
from types import TracebackType

from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import InvalidMessage, InvalidStatus
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Origin, Subprotocol
from websockets.uri import parse_uri

from doctor.context import Context

MAX_MESSAGE = 1 << 24  # bytes
MAX_HEAD = 1 << 16  # bytes of a malformed response that are kept


class ProbeConnection:
    """Connects on construction; raises OSError if the connection fails, or no response arrives in time."""

    def __init__(self, context: Context) -> None:
        options = context.options
        self._timeout = options.timeout
        self._protocol = ClientProtocol(
            parse_uri(context.url.geturl()),
            origin=Origin(options.origin) if options.origin else None,
            subprotocols=[Subprotocol(name) for name in options.subprotocols] or None,
            max_size=MAX_MESSAGE,
        )
        self._pending: list[Frame] = []
        self._head = b""  # received bytes, until a response is parsed
        self.response: Response | None = None
        """None: the answer is not HTTP."""
        self._utf8_decoder: codecs.IncrementalDecoder | None = None
        self._invalid_text = ""
        self._send_failed = False
        self._socket: ssl.SSLSocket = context.open_tls()
        try:
            self._socket.do_handshake()
            request = self._protocol.connect()
            for name in {name.lower() for name, _ in options.headers if name in request.headers}:
                del request.headers[name]
            for name, value in options.headers:
                request.headers[name] = value
            self._protocol.send_request(request)
            self._send()
            self._await_response()
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> "ProbeConnection":
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        with self._socket, suppress(OSError):
            if self.is_open:  # the server should not see an abnormal closure
                self.close()
                self.receive(seconds=1)

    @property
    def handshake_error(self) -> Exception | None:
        """Why the handshake failed; None: it succeeded."""
        if self.response and self.response.status_code != 101:
            return InvalidStatus(self.response)
        return self._protocol.handshake_exc

    @property
    def subprotocol(self) -> str | None:
        return self._protocol.subprotocol

    @property
    def is_open(self) -> bool:
        return self._protocol.state is State.OPEN

    @property
    def close_code(self) -> int:
        """RFC 6455 section 7.1.5: 1006 if no close frame was received."""
        return self._protocol.close_rcvd.code if self._protocol.close_rcvd else 1006

    @property
    def close_reason(self) -> str:
        return self._protocol.close_rcvd.reason if self._protocol.close_rcvd else ""

    @property
    def violation(self) -> str:
        """How the server violated RFC 6455; empty: it did not."""
        error = self._protocol.parser_exc
        if self._invalid_text or self._protocol.close_rcvd or isinstance(error, EOFError):
            return self._invalid_text
        return str(error or "")

    def send_text(self, text: str) -> None:
        """Raises TimeoutError if it cannot be sent in time."""
        self._protocol.send_text(text.encode())
        self._send()

    def send_binary(self, data: bytes) -> None:
        self._protocol.send_binary(data)
        self._send()

    def await_pong(self) -> bool:
        """Send a ping; return whether its pong arrived in time."""
        data = secrets.token_bytes(8)
        self._protocol.send_ping(data)
        self._send()
        deadline = time.monotonic() + self._timeout
        while frame := self.receive(Opcode.PONG, seconds=deadline - time.monotonic()):
            if frame.data == data:
                return True
        return False

    def close(self) -> None:
        """Start the closing handshake; call `receive` to wait for its end."""
        self._protocol.send_close(1000)
        self._send()

    def receive(self, *opcodes: Opcode, seconds: float | None = None) -> Frame | None:
        """Return the next frame with one of these opcodes; None: a timeout, or the connection is closed (`is_open`)."""
        deadline = time.monotonic() + (self._timeout if seconds is None else seconds)
        while True:
            while self._pending:
                if (frame := self._pending.pop(0)).opcode in opcodes:
                    return frame
            if self._protocol.close_rcvd or not self._read(deadline):
                return None

    def _await_response(self) -> None:
        deadline = time.monotonic() + self._timeout
        while self.response is None and self._protocol.handshake_exc is None:
            if not self._read(deadline):
                break
        if self.response is None:
            # Accept a response that is malformed or incomplete.
            self.response = _parse_leniently(self._head)
        if self._protocol.handshake_exc is None:
            if self.response and self.response.status_code == 101 and self._protocol.state is State.CONNECTING:
                self._protocol.handshake_exc = InvalidMessage("the blank line after the headers is missing")
            elif self.response is None and self._head and not self._head.startswith(b"HTTP/"):
                self._protocol.handshake_exc = InvalidMessage(f"it begins with {self._head[:20]!r}")
            elif self.response is None:
                raise TimeoutError(f"no answer within {self._timeout:g} s")

    def _read(self, deadline: float) -> bool:
        """Process the next data; False: a timeout, or the connection is closed."""
        left = deadline - time.monotonic()
        if left <= 0 or self._protocol.state is State.CLOSED:
            return False
        self._socket.settimeout(left)
        try:
            data = self._socket.recv(65536)
        except TimeoutError:
            return False
        except OSError:
            if self.response is None and not self._head:
                raise
            data = b""
        if data:
            if self.response is None:
                self._head = (self._head + data)[:MAX_HEAD]
            self._protocol.receive_data(data)
        elif self.response is None and not self._head:
            raise ConnectionAbortedError("the server closed the connection")
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                self.response = event
            elif isinstance(event, Frame):
                self._check_text(event)
                self._pending.append(event)
        self._send()
        return True

    def _check_text(self, frame: Frame) -> None:
        """Check text for valid UTF-8 (RFC 6455 section 8.1), which ClientProtocol leaves to its caller."""
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._utf8_decoder = codecs.getincrementaldecoder("utf-8")() if frame.opcode is Opcode.TEXT else None
        if frame.opcode in (Opcode.TEXT, Opcode.CONT) and self._utf8_decoder and not self._invalid_text:
            try:
                self._utf8_decoder.decode(bytes(frame.data), frame.fin)
            except UnicodeDecodeError:
                self._invalid_text = "a text message that is not valid UTF-8"
                self._protocol.fail(CloseCode.INVALID_DATA)

    def _send(self) -> None:
        if self._send_failed:
            # Another write would lose data that the server sent before it closed.
            self._protocol.data_to_send()
            return
        deadline = time.monotonic() + self._timeout
        try:
            for data in self._protocol.data_to_send():
                left = memoryview(data)
                while left:
                    self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
                    left = left[self._socket.send(left) :]
        except TimeoutError:
            raise
        except OSError:
            self._send_failed = True
            if self.response is None:
                raise  # otherwise, reading shows the cause


def _parse_leniently(head: bytes) -> Response | None:
    """Parse a response that is almost HTTP/1.1: version 1.0, without a reason phrase, or with a huge header."""
    line = re.match(rb"HTTP/\d(?:\.\d)? +(\d{3})(?: +([^\r\n]*))?\r?\n", head)
    if not line:
        return None
    fields = re.findall(rb"^([\w-]+):[ \t]*([^\r\n]*)", head[line.end() :].partition(b"\r\n\r\n")[0], re.MULTILINE)
    headers = Headers(
        [(name.decode(), re.sub(rb"[^ -~\x80-\xff]", b"?", value).decode("latin-1")) for name, value in fields]
    )
    return Response(int(line[1]), (line[2] or b"").decode("latin-1"), headers, b"")
