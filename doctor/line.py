"""A websocket, seen from the client's side with nothing hidden: the answer to the handshake, frames, close codes."""

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

from doctor.route import Route

LARGEST = 1 << 24  # bytes of a message that is taken
LONGEST_HEAD = 1 << 16  # bytes of an answer that are looked at


class Line:
    """Opens on construction; raises OSError where there is no answer in time, or none at all."""

    def __init__(self, route: Route) -> None:
        options = route.options
        self._timeout = options.timeout
        self._protocol = ClientProtocol(
            parse_uri(route.url.geturl()),
            origin=Origin(options.origin) if options.origin else None,
            subprotocols=[Subprotocol(name) for name in options.subprotocols] or None,
            max_size=LARGEST,
        )
        self._pending: list[Frame] = []
        self._head = b""  # what came, until there is an answer
        self.response: Response | None = None
        """None: what came was no HTTP."""
        self._utf_8: codecs.IncrementalDecoder | None = None
        self._no_text = ""
        self._takes_nothing = False  # the server does not: sending has failed
        self._socket: ssl.SSLSocket = route.open_tls()
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

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        with self._socket, suppress(OSError):
            if self.is_open:  # the server shall not think that the line was cut
                self.close()
                self.receive(seconds=1)

    @property
    def refusal(self) -> Exception | None:
        """Why this is no websocket; None: it is one."""
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
        """RFC 6455 section 7.1.5: 1006 where no close frame came."""
        return self._protocol.close_rcvd.code if self._protocol.close_rcvd else 1006

    @property
    def close_reason(self) -> str:
        return self._protocol.close_rcvd.reason if self._protocol.close_rcvd else ""

    @property
    def violation(self) -> str:
        """How the server broke RFC 6455; empty: it did not."""
        broken = self._protocol.parser_exc
        if self._no_text or self._protocol.close_rcvd or isinstance(broken, EOFError):
            return self._no_text
        return str(broken or "")

    def send_text(self, text: str) -> None:
        """Raises TimeoutError where it cannot be sent in time."""
        self._protocol.send_text(text.encode())
        self._send()

    def send_binary(self, data: bytes) -> None:
        self._protocol.send_binary(data)
        self._send()

    def await_pong(self) -> bool:
        """Send a ping; return whether it was answered in time."""
        data = secrets.token_bytes(8)
        self._protocol.send_ping(data)
        self._send()
        deadline = time.monotonic() + self._timeout
        while frame := self.receive(Opcode.PONG, seconds=deadline - time.monotonic()):
            if frame.data == data:
                return True
        return False

    def close(self) -> None:
        """Start the closing handshake; `receive` sees its end."""
        self._protocol.send_close(1000)
        self._send()

    def receive(self, *opcodes: Opcode, seconds: float | None = None) -> Frame | None:
        """Return the next frame of one of these kinds; None: not in time, or the line ended (`is_open` tells)."""
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
            # An answer that is not perfect, or whose end never comes, is an answer.
            self.response = _lenient(self._head)
        if self._protocol.handshake_exc is None:
            if self.response and self.response.status_code == 101 and self._protocol.state is State.CONNECTING:
                self._protocol.handshake_exc = InvalidMessage("the blank line that ends the headers does not come")
            elif self.response is None and self._head and not self._head.startswith(b"HTTP/"):
                self._protocol.handshake_exc = InvalidMessage(f"it begins with {self._head[:20]!r}")
            elif self.response is None:
                raise TimeoutError(f"no answer for {self._timeout:g} s")

    def _read(self, deadline: float) -> bool:
        """Take in what comes; False: nothing more will, or not in time."""
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
                self._head = (self._head + data)[:LONGEST_HEAD]
            self._protocol.receive_data(data)
        elif self.response is None and not self._head:
            raise ConnectionAbortedError("closed without an answer")
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
        """RFC 6455 section 8.1, which the library leaves to whoever decodes the message."""
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._utf_8 = codecs.getincrementaldecoder("utf-8")() if frame.opcode is Opcode.TEXT else None
        if frame.opcode in (Opcode.TEXT, Opcode.CONT) and self._utf_8 and not self._no_text:
            try:
                self._utf_8.decode(bytes(frame.data), frame.fin)
            except UnicodeDecodeError:
                self._no_text = "a text that is no UTF-8"
                self._protocol.fail(CloseCode.INVALID_DATA)

    def _send(self) -> None:
        if self._takes_nothing:
            # To write once more would lose what it said before it went.
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
            self._takes_nothing = True
            if self.response is None:
                raise  # else the reading side tells what happened


def _lenient(head: bytes) -> Response | None:
    """Return the status and the headers of what only nearly is HTTP/1.1: 1.0, without a phrase, with a huge header."""
    line = re.match(rb"HTTP/\d(?:\.\d)? +(\d{3})(?: +([^\r\n]*))?\r?\n", head)
    if not line:
        return None
    fields = re.findall(rb"^([\w-]+):[ \t]*([^\r\n]*)", head[line.end() :].partition(b"\r\n\r\n")[0], re.MULTILINE)
    headers = Headers(
        [(name.decode(), re.sub(rb"[^ -~\x80-\xff]", b"?", value).decode("latin-1")) for name, value in fields]
    )
    return Response(int(line[1]), (line[2] or b"").decode("latin-1"), headers, b"")
