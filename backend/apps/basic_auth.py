"""Clients log in with user name and password (RFC 7617): those of handler.env, USER_NAME and PASSWORD."""

import os

from websockets.asyncio.server import basic_auth
from wss import Connection

process_request = basic_auth(
    realm="wss", credentials=(os.environ.get("USER_NAME", "wss"), os.environ.get("PASSWORD") or os.urandom(16).hex())
)


async def handler(connection: Connection) -> None:
    async for _ in connection:
        await connection.send(f"you are {connection.username}")
