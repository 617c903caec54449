"""One handler for most tests: `?app=echo` and `?app=whoami` select those examples; the default is `ok`.

`?app=idle` receives nothing, and waits for the end. `?app=close` closes with the code that it receives. `?app=block`
blocks the event loop for the seconds that it receives. `?app=moving` is an echo that sends "move" when its connection
drains. The header `App: whoami` selects as `?app=whoami` does, for tests whose path or query is special.
"""

import asyncio
import time

from apps import echo, ok, whoami
from wss import Connection


async def idle(connection: Connection) -> None:
    await connection.wait_closed()


async def close(connection: Connection) -> None:
    await connection.close(int(await connection.recv()), "as requested")


async def moving(connection: Connection) -> None:
    async def ask_to_move() -> None:
        await connection.draining.wait()
        await connection.send("move")

    asking = asyncio.create_task(ask_to_move())
    try:
        await echo.handler(connection)
    finally:
        asking.cancel()


async def block(connection: Connection) -> None:
    async for seconds in connection:
        time.sleep(float(seconds))  # noqa: ASYNC251  # the fault itself


_APPS = {
    "app=echo": echo.handler,
    "app=whoami": whoami.handler,
    "app=idle": idle,
    "app=block": block,
    "app=close": close,
    "app=moving": moving,
}


async def handler(connection: Connection) -> None:
    request = connection.request
    header = request.headers.get_all("App")
    selected = f"app={header[0]}" if header else request.path.partition("?")[2]
    await _APPS.get(selected, ok.handler)(connection)
