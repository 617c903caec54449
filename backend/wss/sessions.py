"""The open websockets of a worker: each with the task of its handler, until all are closed."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from websockets.exceptions import ConnectionClosed

from wss.connection.client import peer_address
from wss.connection.connection import Connection, Handler
from wss.connection.deadlines import Deadlines
from wss.connection.drains import Drain, Drains, paced
from wss.connection.keepalive import Keepalive
from wss.connection.plugins import Plugin
from wss.handshake.rate_limits import AddressLimits
from wss.observability.log_batches import log_batched
from wss.observability.logs import current_connection
from wss.observability.metrics import Metrics
from wss.protocol.close import POLICY_VIOLATION, Ending

log = logging.getLogger("wss.server")
ORPHAN_INTERVAL = 30.0  # seconds between two checks for handlers without a connection

log_of_connections = logging.getLogger("wss.connection")


class Sessions:
    """Runs the handler for each connection, and observes it (see wss.connection.connection.Observer)."""

    def __init__(
        self,
        handler: Handler,
        label: Callable[[str], str],
        metrics: Metrics,
        address_limits: AddressLimits,
        keepalive: Keepalive,
        deadlines: Deadlines,
        drains: Drains,
        plugins: Sequence[Plugin],
    ) -> None:
        self._handler = handler
        self._label = label
        self._metrics = metrics
        self._address_limits = address_limits
        self._keepalive = keepalive
        self._deadlines = deadlines
        self._drains = drains
        self._drain: Drain | None = None  # of all connections
        self._plugins = plugins
        self._handling: dict[Connection, asyncio.Task[None]] = {}
        self._open_count = 0
        self._is_ending = False
        self.handled = metrics.handled
        self.deadline_set = deadlines.watch

    @property
    def open_count(self) -> int:
        """How many connections have not ended: MAX_CONNECTIONS is about these."""
        return self._open_count

    @property
    def orphans(self) -> list[Connection]:
        """The connections that have ended, and whose handlers go on."""
        return [connection for connection in self._handling if connection.ending]

    async def report_orphans(self) -> None:
        """Log that handlers go on without their connections, whenever there are more of them, until cancelled."""
        reported = 0
        while True:
            await asyncio.sleep(ORPHAN_INTERVAL)
            orphans = self.orphans
            if len(orphans) > reported:
                paths = ", ".join(sorted({connection.path for connection in orphans}))
                log.warning("%d handlers go on although their connections have ended (%s)", len(orphans), paths)
            reported = len(orphans)

    @property
    def connections(self) -> list[Connection]:
        """The open websockets, the oldest first."""
        return [connection for connection in self._handling if connection.is_open]

    def of_peer(self, address: str) -> list[Connection]:
        """Return the open websockets whose TCP connection comes from this address."""
        return [connection for connection in self.connections if peer_address(connection) == address]

    def opened(self, connection: Connection) -> None:
        self._open_count += 1
        self._address_limits.enter(connection.client)
        seconds = connection.opened - connection.accepted
        self._metrics.opened(seconds, connection.traffic, self._label(connection.path))
        for plugin in self._plugins:
            plugin.enter(connection)
        self._keepalive.watch(connection)
        self._deadlines.watch(connection)
        self._handling[connection] = asyncio.get_running_loop().create_task(self._handle(connection))
        if self._drain:  # its handshake began before
            self._drain.add(connection)

    def ended(self, connection: Connection, ending: Ending) -> None:
        self._open_count -= 1
        self._address_limits.leave(connection.client)
        for plugin in self._plugins:
            plugin.exit(connection)
        self._drains.ended(connection)
        code, closed_by = ending.code_and_initiator
        self._metrics.closed(code, closed_by, connection.traffic)
        log_batched(
            log_of_connections,
            "closed",
            id=connection.id,
            client=connection.client,
            path=connection.path,
            seconds=round(time.monotonic() - connection.opened, 3),
            **connection.traffic.as_dict(),
            code=code,
            closed_by=closed_by,
        )

    def sends_too_much(self, connection: Connection, setting: str, too_long: bool) -> None:
        self._metrics.sends_too_much(setting, "closed" if too_long else "slowed")
        if too_long:
            connection.close_soon(POLICY_VIOLATION, f"more than {setting}")
        what = "closing its connection with 1008" if too_long else "its connection is read more slowly"
        log.warning("%s sends more than %s on %s: %s", connection.client, setting, connection.path, what)

    async def close(self, connections: Sequence[Connection], code: int, reason: str, spread: float) -> None:
        """Close connections, with the close frames spread over `spread` seconds; return when all have ended."""
        async with asyncio.TaskGroup() as closing:
            async for connection in paced(connections, spread):
                closing.create_task(connection.close(code, reason))

    async def let_all_leave(self, over: asyncio.Event) -> None:
        """Tell all connections that they drain; return when all have ended, after STOP_DRAIN, or when `over` is set."""
        self._drain = Drain(self.connections, over)
        await self._drains.run(self._drain)

    async def end(self, code: int, reason: str, *, spread: float, patience: float) -> None:
        """Close all connections and wait for their handlers; cancel those that take longer than `patience` seconds."""
        self._is_ending = True
        try:
            async with asyncio.timeout(patience):
                await self.close(self.connections, code, reason, spread)
                if handlers := list(self._handling.values()):
                    await asyncio.wait(handlers)
        except TimeoutError:
            log.warning("%d handlers did not end within %.0f s and are cancelled", len(self._handling), patience)

    async def _handle(self, connection: Connection) -> None:
        code = 1000
        try:
            try:
                current_connection.set(connection.id)
                await self._handler(connection)
            except ConnectionClosed:
                pass  # the client left while the handler was sending or waiting: no fault of the handler
            except BaseException as error:
                code = self._close_code_after(error, connection)
            if not connection.ending:
                await connection.close(code)
        finally:
            del self._handling[connection]

    def _close_code_after(self, error: BaseException, connection: Connection) -> int:
        """Return how to close after a handler that raised this; raise it again if the server cancels the handler."""
        if isinstance(error, BaseExceptionGroup) and error.split(ConnectionClosed)[1] is None:
            return 1000  # as ConnectionClosed, in a TaskGroup
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task:
            if task.cancelling() and self._is_ending:
                raise error
            while task.uncancel():  # cancelled by somebody else: the client still needs a close frame
                pass
        log.exception("the handler failed on %s: closing its connection with 1011", connection.path)
        return 1011
