"""Only clients with the token of handler.env get in: in the query, in a cookie, or among the subprotocols.

A browser cannot set headers. It can give a token in these ways:

    new WebSocket("wss://example.com/wss?token=…")          // ends up in access logs
    document.cookie = "token=…"                              // of the same site
    new WebSocket("wss://example.com/wss", ["chat", "token.…"])   // with SUBPROTOCOLS=chat
"""

import hmac
import os
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from websockets.http11 import Request, Response
from wss import Connection

TOKEN = os.environ.get("TOKEN", "")


def process_request(connection: Connection, request: Request) -> Response | None:
    if TOKEN and any(hmac.compare_digest(token.encode(), TOKEN.encode()) for token in tokens_in(request)):
        return None
    return connection.respond(HTTPStatus.UNAUTHORIZED, "Give the token.\n")


def tokens_in(request: Request) -> list[str]:
    """Return what the client gave as a token, wherever it did."""
    tokens = parse_qs(urlsplit(request.path).query).get("token", [])
    for header in request.headers.get_all("Cookie"):
        # Not http.cookies: it gives up at the first cookie of anybody else that it cannot parse.
        pairs = (pair.strip().partition("=") for pair in header.split(";"))
        tokens += [value for name, _, value in pairs if name == "token"]
    for header in request.headers.get_all("Sec-WebSocket-Protocol"):
        names = (name.strip() for name in header.split(","))
        tokens += [name.removeprefix("token.") for name in names if name.startswith("token.")]
    return tokens


async def handler(connection: Connection) -> None:
    async for message in connection:
        await connection.send(message)
