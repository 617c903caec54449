"""What a user writes: a handler, and, if it needs them, `process_request` and `lifespan` in the same module."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from multidict import CIMultiDict
from websockets.http11 import Request, Response

from wss.connection.connection import Connection, Handler
from wss.handshake.responses import HttpResponse
from wss.routing import Router

log = logging.getLogger("wss.application")

ProcessRequest = Callable[[Connection, Request], Response | Awaitable[Response | None] | None]
Lifespan = Callable[[], AbstractAsyncContextManager[object]]

# Headers that belong to the connection: the server sets them.
_OWN_HEADERS = {"connection", "content-length", "transfer-encoding"}


@dataclass(frozen=True)
class Application:
    """A handler with what belongs to it."""

    handler: Handler
    process_request: ProcessRequest | None = None
    """Called before the websocket is accepted; a response refuses it."""
    lifespan: Lifespan | None = None
    """Entered by each worker before it accepts connections, and left after the last one has ended."""

    def has_route(self, path: str) -> bool:
        """Whether the handler serves this path: each one, unless it is a Router."""
        return not isinstance(self.handler, Router) or self.handler.find(path) is not None

    def route(self, path: str) -> str | None:
        """Return the route that serves this path, as the handler wrote it; None if it is not a Router."""
        return self.handler.template(path) if isinstance(self.handler, Router) else None

    async def refuse(self, connection: Connection) -> HttpResponse | None:
        """Return the response of process_request, or None if the websocket is accepted."""
        if self.process_request is None:
            return None
        response = self.process_request(connection, connection.request)
        if isinstance(response, Awaitable):
            response = await response
        if response is None:
            return None
        if not isinstance(response, Response):
            raise TypeError(f"process_request returned {response!r}: return None, or what connection.respond() returns")
        headers = CIMultiDict(
            (name, value) for name, value in response.headers.raw_items() if name.lower() not in _OWN_HEADERS
        )
        return HttpResponse(HTTPStatus(response.status_code), bytes(response.body), headers, reason="application")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Enter the lifespan. A task that it starts, and that fails, is logged."""
        loop = asyncio.get_running_loop()
        lifespan = self.lifespan() if self.lifespan else nullcontext()
        loop.set_task_factory(_watched_task)  # type: ignore[arg-type]  # the stub wants every argument by name
        try:
            await lifespan.__aenter__()
        finally:
            loop.set_task_factory(None)
        try:
            yield
        finally:
            await lifespan.__aexit__(None, None, None)


def _watched_task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any
) -> asyncio.Task[Any]:
    task = asyncio.Task(coroutine, loop=loop, **options)
    task.add_done_callback(_log_failure)
    return task


def _log_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("a task of lifespan has failed: %s", task.get_coro(), exc_info=error)
