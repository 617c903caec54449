"""One handler for most tests: `?app=echo` and `?app=whoami` select those examples; the default is `ok`."""

from apps import echo, ok, whoami
from wss import Connection

_APPS = {"app=echo": echo.handler, "app=whoami": whoami.handler}


async def handler(connection: Connection) -> None:
    query = connection.request.path.partition("?")[2]
    await _APPS.get(query, ok.handler)(connection)
