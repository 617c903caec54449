"""A server on a port of this machine, outside of Docker: an echo with https://websockets.readthedocs.io

python3 -m venv echo && echo/bin/pip install --requirement examples/host/requirements.txt
echo/bin/python examples/host/server.py 9000 &
COMPOSE_FILE=compose.yaml:upstream.yaml UPSTREAM=host.docker.internal:9000 docker compose --profile nginx up --build
"""

import asyncio
import sys

from websockets.asyncio.server import ServerConnection, serve


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def main(port: int) -> None:
    # All interfaces, not 127.0.0.1: the proxy's container reaches this machine by the address of Docker's bridge.
    async with serve(echo, "0.0.0.0", port) as server:  # noqa: S104
        print("listening on port", server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main(int(sys.argv[1])))
