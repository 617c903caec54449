"""A WebSocket server that runs your handler. The names exported here are its public API.

A handler is a coroutine function ``async def handler(connection: Connection) -> None``. Connection has the API of
ServerConnection in https://websockets.readthedocs.io/en/stable/reference/asyncio/server.html.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK

    from wss.connection.client import client_address, client_certificate, peer_address
    from wss.connection.connection import Connection, broadcast
    from wss.handshake.client_certificate import ClientCertificate
    from wss.net.tls import tls_session
    from wss.routing import Router
else:
    _MODULES = {
        "ClientCertificate": "wss.handshake.client_certificate",
        "Connection": "wss.connection.connection",
        "ConnectionClosed": "websockets.exceptions",
        "ConnectionClosedError": "websockets.exceptions",
        "ConnectionClosedOK": "websockets.exceptions",
        "Router": "wss.routing",
        "broadcast": "wss.connection.connection",
        "client_address": "wss.connection.client",
        "client_certificate": "wss.connection.client",
        "peer_address": "wss.connection.client",
        "tls_session": "wss.net.tls",
    }

    def __getattr__(name):
        """Import what is used, when it is used (PEP 562): commands such as `names` and `push` need no server."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return value


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
