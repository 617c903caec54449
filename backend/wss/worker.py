"""One process that serves: listens, opens connections, drains when told to stop.

The parent starts it as `python -m wss.worker`; the settings come by the environment, as the parent's did.
"""

import asyncio
import logging
import os
import signal
import sys

from wss.app import load_handler
from wss.listener import ListeningLoop, listening_socket
from wss.logs import start_logging
from wss.server import serve
from wss.settings import SettingError, Settings, read_settings
from wss.tls import server_context

log = logging.getLogger("wss.worker")

# Seconds from the signal until handlers that are still busy are cancelled.
DRAIN_TIMEOUT = 10.0


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then close every client with 1001 and return.

    Raises SettingError where a setting cannot be used, OSError where the port is taken.
    """
    handler = load_handler(settings.app)
    tls = server_context(settings.tls) if settings.tls else None
    server = await serve(handler, settings, listening_socket(settings.port), tls)
    scheme = "wss" if tls else "ws"
    log.info("serving %s://*:%d app=%s", scheme, server.sockets[0].getsockname()[1], settings.app)
    _tell_parent()
    await stop.wait()
    log.info("stopping: closing %d connections with 1001", len(server.connections))
    server.close(code=1001, reason="server is going away")
    try:
        await asyncio.wait_for(server.wait_closed(), DRAIN_TIMEOUT)
    except TimeoutError:
        log.warning("%d handlers did not end within %.0f s: cut", len(server.handlers), DRAIN_TIMEOUT)


def _tell_parent() -> None:
    """Say that the port is open, on the descriptor that the parent gave."""
    if descriptor := os.environ.get("WSS_READY_FD"):
        os.write(int(descriptor), b"\n")
        os.close(int(descriptor))


async def _main(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def orphaned() -> None:
        loop.remove_reader(sys.stdin.fileno())
        stop.set()

    # The parent holds the other end and never writes: it is readable when the parent is gone, however it went.
    loop.add_reader(sys.stdin.fileno(), orphaned)
    await run(settings, stop)


if __name__ == "__main__":
    start_logging()
    try:
        with asyncio.Runner(loop_factory=ListeningLoop) as runner:
            runner.run(_main(read_settings(os.environ)))
    except (SettingError, OSError) as error:
        sys.exit(f"error: {error}")
