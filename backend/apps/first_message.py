"""Clients log in with their first message, within ten seconds: the token of handler.env."""

import asyncio
import hmac
import os

from wss import Connection

TOKEN = os.environ.get("TOKEN", "")
POLICY_VIOLATION = 1008  # RFC 6455 section 7.4.1


async def handler(connection: Connection) -> None:
    try:
        async with asyncio.timeout(10):
            first = await connection.recv()
    except TimeoutError:
        await connection.close(POLICY_VIOLATION, "no token")
        return
    if not TOKEN or not isinstance(first, str) or not hmac.compare_digest(first.encode(), TOKEN.encode()):
        await connection.close(POLICY_VIOLATION, "wrong token")
        return
    await connection.send("welcome")
    async for message in connection:
        await connection.send(message)
