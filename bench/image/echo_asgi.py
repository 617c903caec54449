"""An ASGI application (https://asgi.readthedocs.io/en/latest/specs/www.html#websocket) for uvicorn and granian.

It echoes, or with `?all` broadcasts every message to all clients.
"""

from typing import Any

all_clients: set[Any] = set()


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "websocket":
        return
    fan_out = scope["query_string"] == b"all"
    await receive()
    await send({"type": "websocket.accept"})
    all_clients.add(send)
    try:
        while (event := await receive())["type"] == "websocket.receive":
            for to in tuple(all_clients) if fan_out else (send,):
                await to({"type": "websocket.send", "text": event.get("text"), "bytes": event.get("bytes")})
    finally:
        all_clients.discard(send)
