"""A handler that does with rooms what its client says: `["join", "tea"]`; what came back is told as `["join", …]`."""

import json
from typing import Any

from wss import Connection
from wss.rooms import rooms

# Those that are about the connection itself; the others come by way of it.
OWN = ("id", "bind", "join", "leave")


async def handler(connection: Connection) -> None:
    async for message in connection:
        name, *arguments = json.loads(message)
        options: dict[str, Any] = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
        if options.pop("exclude", False):
            options["exclude"] = connection
        returned = getattr(rooms, name)(*([connection] if name in OWN else []), *arguments, **options)
        await connection.send(json.dumps([name, returned if name == "id" else await returned]))
