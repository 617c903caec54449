"""Answer `ok` to every message, as the backend of the manual does."""

from wss import Connection


async def handler(connection: Connection) -> None:
    async for _ in connection:
        await connection.send("ok")
