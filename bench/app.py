"""The stack's handler in the bench: an echo, or with `?all` a broadcast of each message to all clients of that path."""

from collections import defaultdict

from wss import Connection, broadcast

# By path, because several proxies share one backend: `?all=haproxy` are the clients of one of them.
clients: defaultdict[str, set[Connection]] = defaultdict(set)


async def handler(connection: Connection) -> None:
    path = connection.request.path
    if "?all" not in path:
        async for message in connection:
            await connection.send(message)
        return
    clients[path].add(connection)
    try:
        async for message in connection:
            broadcast(clients[path], message)
    finally:
        clients[path].discard(connection)
