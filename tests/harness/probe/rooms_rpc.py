"""A handler that lets its client call functions of wss.rooms: `["join", "tea"]` is answered with `["join", result]`."""

import json
import os
from typing import Any

from wss import Connection
from wss.rooms import rooms

# Functions whose first argument is the connection.
CONNECTION_FUNCTIONS = ("id", "bind", "join", "resume", "leave")

if grace := os.environ.get("WATCH_GRACE"):
    rooms.watch("*", grace=float(grace))


async def handler(connection: Connection) -> None:
    async for message in connection:
        name, *arguments = json.loads(message)
        options: dict[str, Any] = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
        if options.pop("exclude", False):
            options["exclude"] = connection
        first = [connection] if name in CONNECTION_FUNCTIONS else []
        returned = getattr(rooms, name)(*first, *arguments, **options)
        await connection.send(json.dumps([name, returned if name == "id" else await returned]))
