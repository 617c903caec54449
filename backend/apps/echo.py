"""Echo every message: text as text, binary as binary."""

from wss import Connection


async def handler(connection: Connection) -> None:
    async for message in connection:
        await connection.send(message)
