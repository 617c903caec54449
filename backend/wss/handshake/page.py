"""The pages of `direct`: one on `/`, and the files beside it. In the other profiles, the proxy serves them."""

from http import HTTPStatus
from pathlib import Path

from wss.handshake.responses import HttpResponse

# The same as in nginx.conf and httpd.conf. The page itself restricts what it may load and run.
_HEADERS = {
    "Content-Security-Policy": "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


_SUBTYPES = {".html": "html", ".css": "css", ".js": "javascript"}


def read_page(page: Path) -> dict[str, HttpResponse]:
    """Return responses by their paths: the page on `/`, and the other pages, styles and scripts beside it."""
    others = [file for file in page.parent.iterdir() if file.suffix in _SUBTYPES and file != page]
    return {"/": _response(page)} | {f"/{file.name}": _response(file) for file in others}


def _response(file: Path) -> HttpResponse:
    headers = {"Content-Type": f"text/{_SUBTYPES[file.suffix]}; charset=utf-8", **_HEADERS}
    return HttpResponse(HTTPStatus.OK, file.read_bytes(), headers)
