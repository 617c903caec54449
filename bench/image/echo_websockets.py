"""The echo of https://websockets.readthedocs.io/en/stable/, for production: with a stop, and TLS if it is asked for."""

import asyncio
import ssl
import sys

from websockets.asyncio.server import ServerConnection, serve


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def main() -> None:
    context = None
    if "tls" in sys.argv:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain("/tls/server.pem", "/tls/server.key")
    async with serve(echo, "", 9000, ssl=context, max_size=2**21) as server:
        await server.serve_forever()


asyncio.run(main())
