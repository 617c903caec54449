"""Messages from outside into rooms: `push --room tea hello` in the container, POST /push on the port of the metrics."""

import argparse
import base64
import hmac
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from wss.config.environment import SettingError
from wss.config.settings import Settings, read_settings
from wss.observability.control_socket import send_command, socket_paths

PUSH = "push"  # the command of the control socket
TARGETS = ("room", "user", "client", "all")
TIMEOUT = 10.0  # seconds that a worker has to pass the message on

StartResponse = Callable[[str, list[tuple[str, str]]], object]


class PushError(Exception):
    """A message was not pushed; the text says why."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class Push(NamedTuple):
    """A message and those that receive it."""

    kind: str
    """One of TARGETS."""
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
        fields = [self.kind, self.name, is_text, base64.b64encode(data).decode()]
        return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()

    @classmethod
    def decode(cls, encoded: str) -> "Push":
        kind, name, is_text, data = json.loads(base64.urlsafe_b64decode(encoded))
        message = base64.b64decode(data)
        return cls(kind, name, message.decode() if is_text else message)


def _too_long(size: int, max_message: int) -> PushError:
    text = f"The message has {size} bytes. MAX_MESSAGE is {max_message}."
    return PushError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)


def push(run_dir: Path, message: Push, max_message: int) -> int:
    """Give the message to the workers of this container, with a hub to one of them; return how many received it.

    Raises PushError if it is too long, if none took it, or if the hub is unreachable.
    """
    try:
        size, encoded = message.size, message.encode()
    except UnicodeEncodeError:
        raise PushError(HTTPStatus.BAD_REQUEST, "The message is not valid Unicode.") from None
    if size > max_message:
        raise _too_long(size, max_message)
    received = None
    for path in socket_paths(run_dir):
        try:
            result = send_command(path, PUSH, encoded, timeout=TIMEOUT)
        except ConnectionResetError:
            raise PushError(HTTPStatus.CONFLICT, "The handler does not use wss.rooms.") from None
        except OSError:  # it has just ended, or hangs
            continue
        if "error" in result:
            raise PushError(HTTPStatus.BAD_REQUEST, f"The message was not sent. {result['error']}")
        if (workers := result["workers"]) is None:
            text = "The hub is unreachable: only the clients of one worker received the message."
            raise PushError(HTTPStatus.SERVICE_UNAVAILABLE, text)
        received = (received or 0) + int(workers)
        if result["has_hub"]:
            break
    if received is None:
        raise PushError(HTTPStatus.SERVICE_UNAVAILABLE, "No worker responds. Is the server running?")
    return received


class PushEndpoint:
    """POST /push?room=NAME (or user=NAME, client=ID, all): the body is the message.

    Bytes if the content type is application/octet-stream, else text. Responds with {"workers": N}. A WSGI application.
    """

    def __init__(self, settings: Settings, run_dir: Path) -> None:
        self._token = settings.push_token
        self._max_message = settings.max_message
        self._run_dir = run_dir

    def __call__(self, environ: Mapping[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        try:
            workers = push(self._run_dir, self._read(environ), self._max_message)
        except PushError as error:
            return _respond(start_response, error.status, {"error": str(error)})
        return _respond(start_response, HTTPStatus.OK, {"workers": workers})

    def _read(self, environ: Mapping[str, Any]) -> Push:
        if environ["REQUEST_METHOD"] != "POST":
            raise PushError(HTTPStatus.METHOD_NOT_ALLOWED, "Use POST.")
        given = environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        if self._token and not hmac.compare_digest(given.encode(), self._token.encode()):
            raise PushError(HTTPStatus.UNAUTHORIZED, "Give PUSH_TOKEN: Authorization: Bearer TOKEN.")
        targets = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        if len(targets) != 1 or targets[0][0] not in TARGETS:
            raise PushError(HTTPStatus.BAD_REQUEST, "Give one of ?room=NAME, ?user=NAME, ?client=ID, ?all.")
        body = self._read_body(environ)
        if environ.get("CONTENT_TYPE", "").startswith("application/octet-stream"):
            return Push(*targets[0], body)
        try:
            return Push(*targets[0], body.decode())
        except UnicodeDecodeError:
            text = "The body is not valid UTF-8. Bytes need Content-Type: application/octet-stream."
            raise PushError(HTTPStatus.BAD_REQUEST, text) from None

    def _read_body(self, environ: Mapping[str, Any]) -> bytes:
        try:
            size = int(environ["CONTENT_LENGTH"])
        except (KeyError, ValueError):
            raise PushError(HTTPStatus.LENGTH_REQUIRED, "Give a Content-Length.") from None
        if size > self._max_message:
            raise _too_long(size, self._max_message)
        body: bytes = environ["wsgi.input"].read(size)
        return body


def _respond(start_response: StartResponse, status: HTTPStatus, content: object) -> list[bytes]:
    start_response(f"{status.value} {status.phrase}", [("Content-Type", "application/json")])
    return [json.dumps(content).encode() + b"\n"]


def _main() -> None:
    parser = argparse.ArgumentParser(prog="push", description="Send a message to clients of this server.")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--room")
    target.add_argument("--user")
    target.add_argument("--client", help="the id, as rooms.id returns it")
    target.add_argument("--all", action="store_true")
    parser.add_argument("message", help="the text; - reads it from standard input")
    arguments = parser.parse_args()
    kind, name = next(
        (kind, getattr(arguments, kind)) for kind in TARGETS if getattr(arguments, kind) not in (None, False)
    )
    message = sys.stdin.read() if arguments.message == "-" else arguments.message
    try:
        settings = read_settings(os.environ)
        if not settings.run_dir:
            sys.exit("error: RUN_DIR is not set. Give the server and this command the same directory")
        workers = push(settings.run_dir, Push(kind, "" if kind == "all" else name, message), settings.max_message)
    except (SettingError, PushError) as error:
        sys.exit(f"error: {error}")
    print(f"received by {workers} worker{'' if workers == 1 else 's'}")


if __name__ == "__main__":
    _main()
