"""A handler for tests/chaos: clients resume a room with history, send to it, and learn whether a message is kept."""

import json

from wss import Connection
from wss.rooms import rooms


async def handler(connection: Connection) -> None:
    async for message in connection:
        request = json.loads(message)
        room = request["room"]
        if "since" in request:
            await connection.send('{"resumed": false}')
            await rooms.resume(connection, room, request["since"])
            await connection.send('{"resumed": true}')
        else:
            is_kept = await rooms.send(room, request["message"])
            await connection.send(json.dumps({"sent": request["message"], "kept": is_kept}))
