"""The handler whose instructions are counted: an echo, or with `?room` a room."""

from wss import Connection
from wss.rooms import rooms

ROOM = "tea"


async def handler(connection: Connection) -> None:
    if not connection.request.path.endswith("?room"):
        async for message in connection:
            await connection.send(message)
        return
    await rooms.join(connection, ROOM)
    async for message in connection:
        await rooms.send(ROOM, message)
