"""One process that serves: accepts on the socket that the parent gave, opens connections, drains when told to stop.

The parent starts it as `python -m wss.process.worker`; the settings come by the environment, as the parent's did.
SIGTERM and SIGINT stop it with close code 1001, SIGHUP with 1012: another worker serves already.
"""

import asyncio
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from wss import acme_http as plain_http
from wss.application import Application
from wss.config.settings import SettingError, Settings, read_settings
from wss.connection.plugins import registered
from wss.net.certificate import Certificate, follow_expiry
from wss.net.loop import Loop
from wss.observability import metrics, status
from wss.observability.logs import start_logging
from wss.observability.metrics import Metrics
from wss.process.app_loader import describe, load_application
from wss.server import PROXY_DRAINING, SERVICE_RESTART, WebSocketServer

log = logging.getLogger("wss.worker")

GOING_AWAY = (1001, "server is going away")
# Seconds from the signal until handlers that are still busy are cancelled.
DRAIN_TIMEOUT = 10.0


async def run(settings: Settings, sock: socket.socket, number: int, stop: asyncio.Future[tuple[int, str]]) -> None:
    """Serve until `stop` has a close code and reason, then close every client with it and return.

    Raises SettingError where a setting cannot be used.
    """
    app = load_application(settings.app)
    assert settings.run_dir  # the parent's
    metrics.write_into(settings.run_dir, number)
    counts = Metrics()
    certificate = Certificate(settings.tls, settings, counts) if settings.tls else None
    keeping = [asyncio.create_task(counts.keep())]
    for plugin in registered:  # by the handler's imports
        await plugin.start(settings, counts)
    async with _lifespan(app, settings):
        server = WebSocketServer(app, settings, counts, registered)
        commands: dict[str, Callable[..., dict[str, Any]]] = {
            status.DESCRIBE: Report(server, counts).describe,
            PROXY_DRAINING: server.close_clients_of_proxy,
        }
        answering = await status.serve_control_socket(status.socket_path(settings.run_dir, number), commands)
        await server.listen(sock, certificate)
        if certificate:
            keeping.append(asyncio.create_task(certificate.follow()))
        elif settings.expiry_file:
            keeping.append(asyncio.create_task(follow_expiry(settings.expiry_file, counts)))
        plain = plain_http.listen(settings, settings.challenges) if settings.challenges else None
        _tell_parent()
        scheme, port = "wss" if certificate else "ws", sock.getsockname()[1]
        log.info(
            "serving %s://*:%d",
            scheme,
            port,
            extra={"app": settings.app, "workers": settings.workers, "metrics_port": settings.metrics_port},
        )
        code, reason = await stop
        if plain:
            plain.close()
        if code == SERVICE_RESTART[0]:
            await server.hand_over()
        log.info("stopping: closing %d connections with %d", len(server.connections), code)
        await server.drain(code, reason, DRAIN_TIMEOUT)
        answering.close()
    for plugin in registered:
        plugin.stop()
    for task in keeping:
        task.cancel()
    counts.flush()


@asynccontextmanager
async def _lifespan(app: Application, settings: Settings) -> AsyncIterator[None]:
    async with AsyncExitStack() as running:
        try:
            await running.enter_async_context(app.running())
        except Exception as error:
            raise SettingError(f"APP={settings.app!r}: lifespan fails with {describe(error)}") from None
        yield


class Report:
    """What `status` tells of a worker."""

    def __init__(self, server: WebSocketServer, counts: Metrics) -> None:
        self._server = server
        self._counts = counts
        self._started = time.monotonic()

    def describe(self) -> dict[str, Any]:
        """Return numbers and words for JSON; `memory` in bytes."""
        now = time.monotonic()
        resident_pages = int(Path("/proc/self/statm").read_text().split()[1])  # proc_pid_statm(5)
        return {
            "process": os.getpid(),
            "state": "stopping" if self._server.draining else self._server.degraded_reason or "serving",
            "seconds": now - self._started,
            "memory": resident_pages * resource.getpagesize(),
            "opened": self._counts.opened_so_far,
            "orphans": len(self._server.orphans),
            **self._counts.traffic().as_dict(),
            "connections": [
                {
                    "id": connection.request_id,
                    "client": connection.client,
                    "path": connection.path,
                    "seconds": round(now - connection.opened),
                    **connection.traffic.as_dict(),
                    "unread": connection.buffered,
                }
                for connection in self._server.connections
            ],
        }


def _tell_parent() -> None:
    """Say that the port is open, on the descriptor that the parent gave."""
    if descriptor := os.environ.get("WSS_READY_FD"):
        with suppress(BrokenPipeError):  # it is gone, which the reader of stdin notices too
            os.write(int(descriptor), b"\n")
        os.close(int(descriptor))


async def _main(settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[tuple[int, str]] = loop.create_future()

    def end(with_code: tuple[int, str]) -> None:
        loop.remove_reader(sys.stdin.fileno())
        if not stop.done():
            stop.set_result(with_code)

    loop.add_signal_handler(signal.SIGTERM, end, GOING_AWAY)
    loop.add_signal_handler(signal.SIGINT, end, GOING_AWAY)
    loop.add_signal_handler(signal.SIGHUP, end, SERVICE_RESTART)
    # The parent holds the other end and never writes: it is readable when the parent is gone, however it went.
    loop.add_reader(sys.stdin.fileno(), end, GOING_AWAY)
    sock = socket.socket(fileno=int(os.environ["WSS_SOCKET_FD"]))
    await run(settings, sock, int(os.environ["WSS_WORKER"]), stop)


if __name__ == "__main__":
    try:
        settings = read_settings(os.environ)
        start_logging(settings)
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(_main(settings))
    except (SettingError, OSError) as error:
        sys.exit(f"error: {error}")
