"""The servers in examples/, each behind a proxy with upstream.yaml."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from client import Target, target_of
from fixtures import NewStack
from stack import REPOSITORY, Stack

EXAMPLES = REPOSITORY / "examples"
# The path of each one's echo.
PATHS = {"fastapi": "/ws/echo", "node": "/ws", "socketio": "/socket.io/", "host": "/wss"}


@dataclass(frozen=True)
class Example:
    """A running example, and its address for clients."""

    name: str
    stack: Stack
    target: Target


@contextmanager
def running_example(name: str, profile: str, new_stack: NewStack, ca: Path) -> Iterator[Example]:
    """Start the stack with the example's Compose file, or with the example on a port of this machine."""
    files = [REPOSITORY / "compose.yaml", REPOSITORY / "upstream.yaml"]
    if name == "host":
        with _on_this_machine() as port:
            stack = new_stack(profile, files=tuple(files), UPSTREAM=f"host.docker.internal:{port}")
            yield _started(name, stack, ca)
            stack.remove()
    else:
        stack = new_stack(profile, files=(*files, EXAMPLES / name / "compose.yaml"), DOMAIN="localhost,wss.example")
        yield _started(name, stack, ca)
        stack.remove()


def _started(name: str, stack: Stack, ca: Path) -> Example:
    stack.up()
    return Example(name, stack, replace(target_of(stack, ca), path=PATHS[name]))


@contextmanager
def _on_this_machine() -> Iterator[int]:
    command = [sys.executable, str(EXAMPLES / "host" / "server.py"), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        yield int(server.stdout.readline().split()[-1])
        server.terminate()
