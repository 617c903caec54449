"""Different handlers for different paths, in the path syntax of Starlette: https://www.starlette.io/routing/

router = Router()

@router.route("/ws/rooms/{room}")
async def room(connection, room):
    ...
"""

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from wss.connection.connection import Connection

RouteHandler = Callable[..., Awaitable[None]]

_PARAMETER = re.compile(r"\{([A-Za-z_]\w*)(?::([a-z]+))?\}")
# A type of a parameter → what it matches in the path, and what makes its value.
_CONVERTERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "str": (r"[^/]+", unquote),
    "path": (r".*", unquote),
    "int": (r"[0-9]+", int),
    "float": (r"[0-9]+(?:\.[0-9]+)?", float),
    "uuid": (r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}", UUID),
}


class Router:
    """A handler that calls the handler of the first route that matches the path."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], dict[str, Callable[[str], Any]], RouteHandler]] = []

    def route(self, path: str) -> Callable[[RouteHandler], RouteHandler]:
        """Serve this path by the handler that is decorated, which gets its parameters by their names.

        Raises ValueError for a path that does not start with a slash, for a parameter that occurs twice, and for a type
        other than str, path, int, float, uuid.
        """
        pattern, converters = _compile(path)

        def add(handler: RouteHandler) -> RouteHandler:
            self._routes.append((path, pattern, converters, handler))
            return handler

        return add

    def find(self, path: str) -> Callable[[Connection], Awaitable[None]] | None:
        """Return the handler for a path without its query, as the client sent it; None if no route matches."""
        route = self._find(path)
        return route[1] if route else None

    def template(self, path: str) -> str | None:
        """Return the route that matches a path, as it was written: `/ws/rooms/{room}`; None if no route does."""
        route = self._find(path)
        return route[0] if route else None

    def _find(self, path: str) -> tuple[str, Callable[[Connection], Awaitable[None]]] | None:
        for template, pattern, converters, handler in self._routes:
            if match := pattern.fullmatch(path):
                with suppress(ValueError):  # an int of more digits than Python reads
                    values = {name: converters[name](value) for name, value in match.groupdict().items()}
                    return template, partial(handler, **values)
        return None

    async def __call__(self, connection: Connection) -> None:
        handler = self.find(connection.path)
        assert handler, "the server has refused all other paths"
        await handler(connection)


def _compile(path: str) -> tuple[re.Pattern[str], dict[str, Callable[[str], Any]]]:
    if not path.startswith("/"):
        raise ValueError(f"route {path!r}: start it with a slash")
    pattern, position, converters = "", 0, {}
    for parameter in _PARAMETER.finditer(path):
        name, type_ = parameter[1], parameter[2] or "str"
        if name in converters:
            raise ValueError(f"route {path!r}: {{{name}}} occurs twice. Rename one of them")
        if type_ not in _CONVERTERS:
            raise ValueError(f"route {path!r}: there is no type {type_!r}. Use one of {', '.join(_CONVERTERS)}")
        expression, converters[name] = _CONVERTERS[type_]
        pattern += f"{re.escape(path[position : parameter.start()])}(?P<{name}>{expression})"
        position = parameter.end()
    if "{" in _PARAMETER.sub("", path) or "}" in _PARAMETER.sub("", path):
        raise ValueError(f"route {path!r}: write a parameter as {{name}} or {{name:type}}")
    return re.compile(pattern + re.escape(path[position:])), converters
