"""Send every message to all clients in the same room; the query names the room: `/wss?tea`."""

from wss import Connection
from wss.rooms import rooms


async def handler(connection: Connection) -> None:
    room = connection.request.path.partition("?")[2]
    await rooms.join(connection, room)
    async for message in connection:
        await rooms.send(room, message)
