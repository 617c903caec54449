"""The test page on `/` of `direct`. In the other profiles, the proxy serves it."""

from http import HTTPStatus
from pathlib import Path

from wss.handshake.responses import HttpResponse

# The same as in nginx.conf and httpd.conf. The page itself restricts what it may load and run.
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def read_page(file: Path) -> HttpResponse:
    """Return a response with the contents of the file."""
    return HttpResponse(HTTPStatus.OK, file.read_bytes(), _HEADERS)
