"""An ASGI application (https://asgi.readthedocs.io/en/latest/specs/www.html#websocket) for uvicorn.

It echoes; with `?all`, everybody gets every message.
"""

from typing import Any

everybody: set[Any] = set()


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "websocket":
        return
    fan = scope["query_string"] == b"all"
    await receive()
    await send({"type": "websocket.accept"})
    everybody.add(send)
    try:
        while (event := await receive())["type"] == "websocket.receive":
            for to in tuple(everybody) if fan else (send,):
                await to({"type": "websocket.send", "text": event.get("text"), "bytes": event.get("bytes")})
    finally:
        everybody.discard(send)
