"""What the stack serves in the bench: an echo; and with `?all`, everybody gets every message."""

from wss import Connection, broadcast

everybody: set[Connection] = set()


async def handler(connection: Connection) -> None:
    if not connection.request.path.endswith("?all"):
        async for message in connection:
            await connection.send(message)
        return
    everybody.add(connection)
    try:
        async for message in connection:
            broadcast(everybody, message)
    finally:
        everybody.discard(connection)
