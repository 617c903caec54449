"""One process that serves: accepts on the socket that the parent gave, opens connections, drains when told to stop.

The parent starts it as `python -m wss.worker`; the settings come by the environment, as the parent's did.
SIGTERM and SIGINT stop it with close code 1001, SIGHUP with 1012: another worker serves already.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from contextlib import suppress

from wss.app import load_handler
from wss.listener import ListeningLoop
from wss.logs import start_logging
from wss.server import WebSocketServer
from wss.settings import SettingError, Settings, read_settings
from wss.tls import server_context

log = logging.getLogger("wss.worker")

GOING_AWAY = (1001, "server is going away")
SERVICE_RESTART = (1012, "server is restarting")
# Seconds from the signal until handlers that are still busy are cancelled.
DRAIN_TIMEOUT = 10.0


async def run(settings: Settings, sock: socket.socket, stop: asyncio.Future[tuple[int, str]]) -> None:
    """Serve until `stop` has a close code and reason, then close every client with it and return.

    Raises SettingError where a setting cannot be used.
    """
    handler = load_handler(settings.app)
    tls = server_context(settings.tls) if settings.tls else None
    server = WebSocketServer(handler, settings)
    await server.listen(sock, tls)
    _tell_parent()
    scheme, port = "wss" if tls else "ws", sock.getsockname()[1]
    log.info("serving %s://*:%d", scheme, port, extra={"app": settings.app, "workers": settings.workers})
    code, reason = await stop
    if code == SERVICE_RESTART[0]:
        await server.hand_over()
    log.info("stopping: closing %d connections with %d", len(server.connections), code)
    await server.drain(code, reason, DRAIN_TIMEOUT)


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
    await run(settings, socket.socket(fileno=int(os.environ["WSS_SOCKET_FD"])), stop)


if __name__ == "__main__":
    try:
        settings = read_settings(os.environ)
        start_logging(settings)
        with asyncio.Runner(loop_factory=ListeningLoop) as runner:
            runner.run(_main(settings))
    except (SettingError, OSError) as error:
        sys.exit(f"error: {error}")
