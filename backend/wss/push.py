"""Messages from outside into rooms: `push --room tea hello` in the container, POST /push on the port of the metrics."""

import base64
import sys
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

from wss.config.settings import Settings
from wss.outside import TARGETS, Endpoint, RequestError, argument_parser, ask_workers, decode, encode, read_query, run

PUSH = "push"  # the command of the control socket
ALL = "all"


class Push(NamedTuple):
    """A message and those that receive it."""

    kind: str
    """One of TARGETS, or ALL."""
    name: str
    """Of the room or the user, or the id of the client; empty for all."""
    message: str | bytes

    @property
    def size(self) -> int:
        """Bytes of the message. Raises UnicodeEncodeError for a text with half of a surrogate pair."""
        return len(self.message.encode() if isinstance(self.message, str) else self.message)

    def encode(self) -> str:
        """Return it as one word for the control socket."""
        is_text = isinstance(self.message, str)
        data = self.message.encode() if isinstance(self.message, str) else self.message
        return encode([self.kind, self.name, is_text, base64.b64encode(data).decode()])

    @classmethod
    def decode(cls, word: str) -> "Push":
        kind, name, is_text, data = decode(word)
        message = base64.b64decode(data)
        return cls(kind, name, message.decode() if is_text else message)


def _too_long(size: int, max_message: int) -> RequestError:
    text = f"The message has {size} bytes. MAX_MESSAGE is {max_message}."
    return RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)


def push(run_dir: Path, message: Push, max_message: int) -> int:
    """Send the message, and return how many workers received it. Raises RequestError."""
    try:
        size, word = message.size, message.encode()
    except UnicodeEncodeError:
        raise RequestError(HTTPStatus.BAD_REQUEST, "The message is not valid Unicode.") from None
    if size > max_message:
        raise _too_long(size, max_message)
    return ask_workers(run_dir, PUSH, word)


class PushEndpoint(Endpoint):
    """POST /push?room=NAME (or user=NAME, client=ID, all): the body is the message.

    Bytes if the content type is application/octet-stream, else text.
    """

    def __init__(self, settings: Settings, run_dir: Path) -> None:
        super().__init__(settings, run_dir)
        self._max_message = settings.max_message

    def carry_out(self, environ: Mapping[str, Any]) -> int:
        return push(self._run_dir, self._read(environ), self._max_message)

    def _read(self, environ: Mapping[str, Any]) -> Push:
        targets = read_query(environ)
        if len(targets) != 1 or targets[0][0] not in (*TARGETS, ALL):
            raise RequestError(HTTPStatus.BAD_REQUEST, "Give one of ?room=NAME, ?user=NAME, ?client=ID, ?all.")
        body = self._read_body(environ)
        if environ.get("CONTENT_TYPE", "").startswith("application/octet-stream"):
            return Push(*targets[0], body)
        try:
            return Push(*targets[0], body.decode())
        except UnicodeDecodeError:
            text = "The body is not valid UTF-8. Bytes need Content-Type: application/octet-stream."
            raise RequestError(HTTPStatus.BAD_REQUEST, text) from None

    def _read_body(self, environ: Mapping[str, Any]) -> bytes:
        try:
            size = int(environ["CONTENT_LENGTH"])
        except (KeyError, ValueError):
            raise RequestError(HTTPStatus.LENGTH_REQUIRED, "Give a Content-Length.") from None
        if size > self._max_message:
            raise _too_long(size, self._max_message)
        body: bytes = environ["wsgi.input"].read(size)
        return body


def _main() -> None:
    parser, target = argument_parser("push", "Send a message to clients of this server.")
    target.add_argument("--all", action="store_true")
    parser.add_argument("message", help="the text; - reads it from standard input")
    arguments = parser.parse_args()
    kind, name = next(((kind, name) for kind in TARGETS if (name := getattr(arguments, kind)) is not None), (ALL, ""))
    message = sys.stdin.read() if arguments.message == "-" else arguments.message
    run(lambda run_dir, settings: push(run_dir, Push(kind, name, message), settings.max_message), "received")


if __name__ == "__main__":
    _main()
