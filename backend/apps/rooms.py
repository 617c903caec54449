"""Send every message to everybody in the same room: `/wss?room=tea`. One process knows only its own clients."""

from collections import defaultdict

from wss import Connection, broadcast

rooms: defaultdict[str, set[Connection]] = defaultdict(set)


async def handler(connection: Connection) -> None:
    room = rooms[connection.request.path.partition("?")[2]]
    room.add(connection)
    try:
        async for message in connection:
            broadcast(room, message)
    finally:
        room.discard(connection)
