"""The page on `/` of direct, which tries the websocket out; behind a proxy, that serves it."""

from http import HTTPStatus
from pathlib import Path

from multidict import CIMultiDict
from picows.websockets import Response

# As in nginx.conf and httpd.conf; what the page may load and run, it says itself.
_CONFINED = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Page:
    """One file, read once."""

    def __init__(self, file: Path) -> None:
        self._content = file.read_bytes()

    def response(self) -> Response:
        return Response(HTTPStatus.OK.value, HTTPStatus.OK.phrase, CIMultiDict(_CONFINED), self._content)
