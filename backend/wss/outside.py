"""Requests from outside, by a command in the container or on the port of the metrics: what `push` and `close` share."""

import argparse
import base64
import hmac
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from wss.config.environment import SettingError
from wss.config.settings import Settings, read_settings
from wss.observability.control_socket import send_command, socket_paths

TARGETS = ("room", "user", "client")
TIMEOUT = 10.0  # seconds that a worker has to pass the request on

StartResponse = Callable[[str, list[tuple[str, str]]], object]


class RequestError(Exception):
    """A request was not carried out; the text says why."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


def encode(fields: Sequence[Any]) -> str:
    """Return the fields as one word for the control socket."""
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()


def decode(word: str) -> list[Any]:
    fields: list[Any] = json.loads(base64.urlsafe_b64decode(word))
    return fields


def ask_workers(run_dir: Path, command: str, word: str) -> int:
    """Give a request to the workers of this container, with a hub to one of them; return how many workers it reached.

    Raises RequestError if it cannot be carried out, if no worker took it, or if the hub is unreachable.
    """
    reached = None
    for path in socket_paths(run_dir):
        try:
            result = send_command(path, command, word, timeout=TIMEOUT)
        except ConnectionResetError:
            raise RequestError(HTTPStatus.CONFLICT, "The handler does not use wss.rooms.") from None
        except OSError:  # it has just ended, or hangs
            continue
        if "error" in result:
            raise RequestError(HTTPStatus.BAD_REQUEST, f"The {command} failed. {result['error']}")
        if (workers := result["workers"]) is None:
            text = f"The hub is unreachable: the {command} reached only the clients of one worker."
            raise RequestError(HTTPStatus.SERVICE_UNAVAILABLE, text)
        reached = (reached or 0) + int(workers)
        if result["has_hub"]:
            break
    if reached is None:
        raise RequestError(HTTPStatus.SERVICE_UNAVAILABLE, "No worker responds. Is the server running?")
    return reached


class Endpoint:
    """A WSGI application for POST, with PUSH_TOKEN if there is one. It responds with {"workers": N}."""

    def __init__(self, settings: Settings, run_dir: Path) -> None:
        self._token = settings.push_token
        self._run_dir = run_dir

    def carry_out(self, environ: Mapping[str, Any]) -> int:
        """Carry out a request; return how many workers it reached. Raises RequestError."""
        raise NotImplementedError

    def __call__(self, environ: Mapping[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        status = HTTPStatus.OK
        content: dict[str, Any]
        try:
            self._check(environ)
            content = {"workers": self.carry_out(environ)}
        except RequestError as error:
            status, content = error.status, {"error": str(error)}
        start_response(f"{status.value} {status.phrase}", [("Content-Type", "application/json")])
        return [json.dumps(content).encode() + b"\n"]

    def _check(self, environ: Mapping[str, Any]) -> None:
        if environ["REQUEST_METHOD"] != "POST":
            raise RequestError(HTTPStatus.METHOD_NOT_ALLOWED, "Use POST.")
        given = environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        if self._token and not hmac.compare_digest(given.encode(), self._token.encode()):
            raise RequestError(HTTPStatus.UNAUTHORIZED, "Give PUSH_TOKEN: Authorization: Bearer TOKEN.")


def read_query(environ: Mapping[str, Any]) -> list[tuple[str, str]]:
    return parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)


def argument_parser(program: str, description: str) -> tuple[argparse.ArgumentParser, Any]:
    """Return the parser of a command, and its group of targets: one of them has to be given."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--room")
    target.add_argument("--user")
    target.add_argument("--client", help="the id, as rooms.id returns it")
    return parser, target


def run(carry_out: Callable[[Path, Settings], int], done: str) -> None:
    """Run a command and print how many workers it reached; exit with 1 and one line if it fails."""
    try:
        settings = read_settings(os.environ)
        if not settings.run_dir:
            sys.exit("error: RUN_DIR is not set. Give the server and this command the same directory")
        workers = carry_out(settings.run_dir, settings)
    except (SettingError, RequestError) as error:
        sys.exit(f"error: {error}")
    print(f"{done} by {workers} worker{'' if workers == 1 else 's'}")
