"""The same echo as echo_websockets.py, with picows's drop-in replacement: `picows.websockets`."""

import asyncio
import ssl
import sys

from picows.websockets.asyncio.server import ServerConnection, serve


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def main() -> None:
    context = None
    if "tls" in sys.argv:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain("/tls/server.pem", "/tls/server.key")
    async with serve(echo, "", 9000, ssl=context, compression=None) as server:
        await server.serve_forever()


asyncio.run(main())
