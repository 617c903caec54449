"""Reply `ok` to every message."""

from wss import Connection


async def handler(connection: Connection) -> None:
    async for _ in connection:
        await connection.send("ok")
