"""The test page on `/` of `direct`, and its scripts. In the other profiles, the proxy serves them."""

from http import HTTPStatus
from pathlib import Path

from wss.handshake.responses import HttpResponse

# The same as in nginx.conf and httpd.conf. The page itself restricts what it may load and run.
_HEADERS = {
    "Content-Security-Policy": "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def read_page(page: Path) -> dict[str, HttpResponse]:
    """Return responses by their paths: the page on `/`, and the scripts beside it."""
    return {"/": _response(page, "html")} | {
        f"/{script.name}": _response(script, "javascript") for script in page.parent.glob("*.js")
    }


def _response(file: Path, subtype: str) -> HttpResponse:
    headers = {"Content-Type": f"text/{subtype}; charset=utf-8", **_HEADERS}
    return HttpResponse(HTTPStatus.OK, file.read_bytes(), headers)
