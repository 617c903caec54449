"""A worker process: accepts connections on the socket of the supervisor, runs handlers, and drains at a stop.

The supervisor starts it as `python -m wss.process.worker`, with the settings in the environment. SIGTERM and SIGINT
stop it with close code 1001. SIGHUP stops it with 1012: another worker serves already. STOP_DRAIN gives clients time to
leave before; SIGUSR1 ends it.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from wss import acme_http
from wss.application import Application
from wss.config.environment import SettingError
from wss.config.settings import Settings, read_settings
from wss.connection.plugins import registered
from wss.net.certificate import Certificate, follow_expiry
from wss.net.loop import Loop
from wss.observability.control_socket import DESCRIBE, Command, serve_control_socket, socket_path
from wss.observability.logs import start_logging
from wss.observability.metrics import Metrics, store_in
from wss.observability.process_metrics import resident_memory
from wss.process.app_loader import describe, load_application
from wss.process.time_limit import StartTimeoutError, time_limit
from wss.process.worker_environment import WorkerEnvironment
from wss.server import PROXY_DRAINING, SERVICE_RESTART, WebSocketServer

log = logging.getLogger("wss.worker")

GOING_AWAY = (1001, "server is going away")
# Seconds from the signal until running handlers are cancelled.
DRAIN_TIMEOUT = 10.0
# Seconds until a lifespan must have reached its yield: shorter than the 60 s after which Compose gives up on a start.
LIFESPAN_TIMEOUT = 50
# Bytes of a command on the control socket, besides a message in it.
MAX_COMMAND = 64 * 1024


async def run(
    settings: Settings, passed: WorkerEnvironment, stop: asyncio.Future[tuple[int, str]], end_drain: asyncio.Event
) -> None:
    """Serve until `stop` has a close code and reason; then close every client with them and return.

    STOP_DRAIN is between the two, unless `end_drain` is set.

    Raises SettingError if a setting cannot be used.
    """
    sock = socket.socket(fileno=passed.socket_fd)
    app = load_application(settings.app)
    store_in(passed.run_dir, passed.number)
    metrics = Metrics(settings.max_connections)
    logging.getLogger().addHandler(metrics.process.log_counter)
    certificate = Certificate(settings.tls_dir, settings, metrics) if settings.tls_dir else None
    background = [asyncio.create_task(metrics.run())]
    for plugin in registered:  # by the imports of the handler
        await plugin.start(settings, metrics)
    async with running_lifespan(app, settings):
        server = WebSocketServer(app, settings, metrics, registered)
        commands: dict[str, Command] = {
            DESCRIBE: Description(server, metrics).as_dict,
            PROXY_DRAINING: server.close_clients_of_proxy,
        }
        for plugin in registered:
            commands |= plugin.commands
        path = socket_path(passed.run_dir, passed.number)
        control = await serve_control_socket(path, commands, max_line=MAX_COMMAND + 2 * settings.max_message)
        await server.listen(sock, certificate)
        if certificate:
            background.append(asyncio.create_task(certificate.follow()))
        if settings.expiry_file:
            following = follow_expiry(settings.expiry_file, metrics, of_proxy=certificate is None)
            background.append(asyncio.create_task(following))
        port_80 = acme_http.listen(settings, settings.challenges) if settings.challenges else None
        _report_ready(passed.ready_fd)
        scheme, port = "wss" if certificate else "ws", sock.getsockname()[1]
        log.info(
            "serving %s://*:%d",
            scheme,
            port,
            extra={"app": settings.app, "workers": settings.workers, "metrics_port": settings.metrics_port},
        )
        code, reason = await stop
        if port_80:
            port_80.close()
        if code == SERVICE_RESTART[0]:
            await server.hand_over()
        await server.let_clients_leave(end_drain)
        log.info("stopping: closing %d connections with %d", len(server.connections), code)
        await server.drain(code, reason, DRAIN_TIMEOUT)
        control.close()
    for plugin in registered:
        plugin.stop()
    for task in background:
        task.cancel()
    metrics.flush()


@asynccontextmanager
async def running_lifespan(app: Application, settings: Settings) -> AsyncIterator[None]:
    """Enter the lifespan of an application, and leave it at the end. Raises SettingError if it fails or hangs."""
    async with AsyncExitStack() as running:
        try:
            with time_limit(LIFESPAN_TIMEOUT + 1, "it blocks the event loop"):
                async with asyncio.timeout(LIFESPAN_TIMEOUT) as limit:
                    await running.enter_async_context(app.running())
        except Exception as error:
            if limit.expired() or isinstance(error, StartTimeoutError):
                raise SettingError(
                    f"APP={settings.app!r}: lifespan takes over {LIFESPAN_TIMEOUT} s before its yield."
                    " Limit the time of what it waits for, or do it in a task"
                ) from None
            raise SettingError(f"APP={settings.app!r}: lifespan fails with {describe(error)}") from None
        yield


class Description:
    """The description of a worker for the status command."""

    def __init__(self, server: WebSocketServer, metrics: Metrics) -> None:
        self._server = server
        self._metrics = metrics
        self._started = time.monotonic()

    def as_dict(self) -> dict[str, Any]:
        """Return the current state, for JSON; `memory` is in bytes."""
        now = time.monotonic()
        return {
            "process": os.getpid(),
            "state": self._server.stop_state or self._server.degraded_reason or "serving",
            "seconds": now - self._started,
            "memory": resident_memory(),
            "opened": self._metrics.opened_so_far,
            "orphans": len(self._server.orphans),
            "draining": self._server.draining_count,
            **self._metrics.traffic().as_dict(),
            "connections": [
                {
                    "id": connection.id,
                    "client": connection.client,
                    "path": connection.path,
                    "seconds": round(now - connection.opened),
                    **connection.traffic.as_dict(),
                    "unread": connection.buffered,
                }
                for connection in self._server.connections
            ],
        }


def _report_ready(ready_fd: int) -> None:
    with suppress(BrokenPipeError):  # the supervisor is gone, which the reader of stdin notices, too
        os.write(ready_fd, b"\n")
    os.close(ready_fd)


async def _main(settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[tuple[int, str]] = loop.create_future()

    end_drain = asyncio.Event()

    def request_stop(code_and_reason: tuple[int, str]) -> None:
        if not stop.done():
            stop.set_result(code_and_reason)

    def supervisor_ended() -> None:
        loop.remove_reader(sys.stdin.fileno())
        request_stop(GOING_AWAY)
        end_drain.set()

    loop.add_signal_handler(signal.SIGTERM, request_stop, GOING_AWAY)
    loop.add_signal_handler(signal.SIGINT, request_stop, GOING_AWAY)
    loop.add_signal_handler(signal.SIGHUP, request_stop, SERVICE_RESTART)
    loop.add_signal_handler(signal.SIGUSR1, end_drain.set)
    # The supervisor holds the other end and never writes: stdin becomes readable when it ends, even if it is killed.
    loop.add_reader(sys.stdin.fileno(), supervisor_ended)
    await run(settings, WorkerEnvironment.from_environment(os.environ), stop, end_drain)


if __name__ == "__main__":
    try:
        settings = read_settings(os.environ)
        start_logging(settings)
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(_main(settings))
    except (SettingError, OSError) as error:
        sys.exit(f"error: {error}")
