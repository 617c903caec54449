"""A WebSocket server for the handlers of a team: what is exported here is what a handler may rely on.

A handler is a coroutine ``async def handler(connection: Connection) -> None``. The connection speaks the API of
https://websockets.readthedocs.io/en/stable/reference/asyncio/server.html (its ServerConnection).
"""

from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK

from wss.connection.client import client_address, client_certificate, peer_address
from wss.connection.connection import Connection, broadcast
from wss.handshake.client_certificate import ClientCertificate
from wss.net.tls import tls_session
from wss.routing import Router

__all__ = [
    "ClientCertificate",
    "Connection",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "Router",
    "broadcast",
    "client_address",
    "client_certificate",
    "peer_address",
    "tls_session",
]
