"""An ASGI application (https://asgi.readthedocs.io/en/latest/specs/www.html), as somebody else would write it."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await (_websocket if scope["type"] == "websocket" else _http)(scope, receive, send)


def _seen(scope: dict[str, Any]) -> dict[str, Any]:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    return {
        "server": socket.gethostname(),
        "path": f"{scope['raw_path'].decode()}?{scope['query_string'].decode()}".removesuffix("?"),
        "client": scope["client"][0],
        "scheme": scope["scheme"],
        "headers": headers,
    }


async def _websocket(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await receive()
    if scope["path"].endswith("/refuse"):
        await send({"type": "websocket.close"})  # 403
        return
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        text, data = message.get("text"), message.get("bytes")
        if text == "who are you?":
            text = json.dumps(_seen(scope))
        await send({"type": "websocket.send", **({"bytes": data} if text is None else {"text": text})})


async def _http(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answer `…/status/NNN` with that status, `…/stream` without an end, and all else with what arrived."""
    path = scope["path"]
    if path.endswith("/stream"):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await receive()  # the request's body
        left = asyncio.ensure_future(receive())
        while not left.done():  # httpd notices only when it writes that its client has left
            await send({"type": "http.response.body", "body": b"data: next\n\n", "more_body": True})
            await asyncio.wait([left], timeout=0.5)
        print("the reader of the stream has left", flush=True)
        return
    size = 0
    more = True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    status = int(path.rpartition("/")[2]) if "/status/" in path else 200
    body = json.dumps({**_seen(scope), "method": scope["method"], "body": size}).encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode()), (b"x-from", b"app")]
    if status == 426:
        headers.append((b"upgrade", b"websocket"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
