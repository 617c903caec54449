"""A handler for many tests: it runs that of the module which the query names, so that they can share a server."""

import importlib

from wss import Connection


async def handler(connection: Connection) -> None:
    importlib.invalidate_caches()  # the module may be younger than the server
    await importlib.import_module(connection.request.path.partition("?")[2]).handler(connection)
