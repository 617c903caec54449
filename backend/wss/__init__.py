"""A WebSocket server that runs your handler. The names exported here are its public API.

A handler is a coroutine function ``async def handler(connection: Connection) -> None``. Connection has the API of
ServerConnection in https://websockets.readthedocs.io/en/stable/reference/asyncio/server.html.
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
