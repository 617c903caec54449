"""An echo with https://websockets.readthedocs.io/en/stable/, with TLS if requested; `?all` broadcasts."""

import asyncio
import ssl
import sys

from websockets.asyncio.server import ServerConnection, broadcast, serve

all_clients: set[ServerConnection] = set()


async def echo(connection: ServerConnection) -> None:
    if connection.request is None or not connection.request.path.endswith("?all"):
        async for message in connection:
            await connection.send(message)
        return
    all_clients.add(connection)
    try:
        async for message in connection:
            broadcast(all_clients, message)
    finally:
        all_clients.discard(connection)


async def main() -> None:
    context = None
    if "tls" in sys.argv:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain("/tls/server.pem", "/tls/server.key")
    async with serve(echo, "", 9000, ssl=context, max_size=2**21) as server:
        await server.serve_forever()


asyncio.run(main())
