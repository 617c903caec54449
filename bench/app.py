"""The stack's handler in the bench: an echo, or with `?all` a broadcast of every message to all clients."""

from wss import Connection, broadcast

all_clients: set[Connection] = set()


async def handler(connection: Connection) -> None:
    if not connection.request.path.endswith("?all"):
        async for message in connection:
            await connection.send(message)
        return
    all_clients.add(connection)
    try:
        async for message in connection:
            broadcast(all_clients, message)
    finally:
        all_clients.discard(connection)
