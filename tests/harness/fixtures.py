"""Types of the fixtures that return functions."""

from typing import Any, Protocol

import websocket
from client import Target
from stack import Stack


class Connect(Protocol):
    """Open a websocket to the target; `query` is appended to its path, `options` are those of create_connection."""

    def __call__(self, target: Target, query: str = "", **options: Any) -> websocket.WebSocket: ...


class NewStack(Protocol):
    """Create a stack without starting it; `settings` are those of docs/settings.md."""

    def __call__(self, profile: str, **settings: Any) -> Stack: ...
