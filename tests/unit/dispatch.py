"""A handler that runs the handler of the module that the query names, so that many tests can share a server."""

import importlib

from wss import Connection


async def handler(connection: Connection) -> None:
    importlib.invalidate_caches()  # the module may have been written after the server started
    await importlib.import_module(connection.request.path.partition("?")[2]).handler(connection)
