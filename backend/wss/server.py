"""What becomes of a connection that was accepted: handshake, websocket, handler."""

import logging
import socket
import ssl

import picows
from picows.websockets import ConnectionClosed, Request, Response, Server, ServerConnection

from wss.app import Handler
from wss.connection import Connection
from wss.handshake import Handshake
from wss.settings import Settings

log = logging.getLogger("wss.server")


async def serve(handler: Handler, settings: Settings, sock: socket.socket, tls: ssl.SSLContext | None) -> Server:
    """Serve on the listening socket, in a ListeningLoop; return the server, whose `close(code=…)` ends it."""
    websocket_log = logging.getLogger("wss.websocket")
    server = Server(_guarded(handler), logger=websocket_log)
    handshake = Handshake(settings)

    def answer(upgrade: picows.WSUpgradeRequest) -> picows.WSUpgradeResponseWithListener:
        request = Request.from_picows(upgrade)
        busy = server.close_task is not None or len(server.handlers) >= settings.max_connections
        refusal = handshake.refuse(request, busy=busy)
        if refusal:
            return picows.WSUpgradeResponseWithListener(refusal.to_picows(), None)
        response = Response.from_picows(picows.WSUpgradeResponse.create_101_response(handshake.agree(request)))
        return picows.WSUpgradeResponseWithListener(
            response.to_picows(), Connection(server, settings, request, response)
        )

    listener = await picows.ws_create_server(
        answer,
        websocket_handshake_timeout=settings.handshake_timeout,
        # Pings and pongs are Connection's: it knows when a client does not read.
        enable_auto_ping=False,
        enable_auto_pong=False,
        max_frame_size=settings.max_message,
        logger_name=websocket_log,
        use_aiofastnet=False,  # by way of ListeningLoop, which uses aiofastnet itself
        sock=sock,
        tls=tls,
        domain=settings.domain,
        timeout=settings.handshake_timeout,
    )
    server.wrap(listener)
    return server


def _guarded(handler: Handler) -> Handler:
    async def handle(connection: ServerConnection) -> None:
        try:
            await handler(connection)
        except ConnectionClosed:
            pass  # the client left while the handler was sending or waiting: no fault of the handler
        except Exception:
            path = connection.request.path.partition("?")[0]
            log.exception("the handler failed on %s: closing its connection with 1011", path)
            raise

    return handle
