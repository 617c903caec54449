"""The echo of https://websockets.readthedocs.io/en/stable/, with TLS if it is asked for; `?all` fans out."""

import asyncio
import ssl
import sys

from websockets.asyncio.server import ServerConnection, broadcast, serve

everybody: set[ServerConnection] = set()


async def echo(connection: ServerConnection) -> None:
    if connection.request is None or not connection.request.path.endswith("?all"):
        async for message in connection:
            await connection.send(message)
        return
    everybody.add(connection)
    try:
        async for message in connection:
            broadcast(everybody, message)
    finally:
        everybody.discard(connection)


async def main() -> None:
    context = None
    if "tls" in sys.argv:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain("/tls/server.pem", "/tls/server.key")
    async with serve(echo, "", 9000, ssl=context, max_size=2**21) as server:
        await server.serve_forever()


asyncio.run(main())
