"""Row 17 of the contract: one port serves the page and the websocket."""

from pathlib import Path

import pytest
from client import Target, http_request
from fixtures import Connect
from stack import REPOSITORY

SITE = REPOSITORY / "site"
TYPES = {".html": ("text/html",), ".css": ("text/css",), ".js": ("text/javascript", "application/javascript")}

pytestmark = pytest.mark.usefixtures("stack")


def test_the_page_is_served_beside_the_websocket(target: Target, connect: Connect) -> None:
    ws = connect(target)
    response = http_request(target, path="/")
    assert response.status == 200
    assert response.headers["content-type"].startswith("text/html")
    assert response.text == (SITE / "index.html").read_text()
    ws.send("tom")
    assert ws.recv() == "ok"


@pytest.mark.parametrize("file", [*SITE.iterdir()], ids=lambda file: file.name)
def test_the_files_of_the_pages_are_served_with_their_types(target: Target, file: Path) -> None:
    path = "/" if file.name == "index.html" else f"/{file.name}"
    response = http_request(target, path=path)
    assert response.status == 200
    # RFC 9239; with nosniff, browsers run and apply no other types.
    assert response.headers["content-type"].partition(";")[0] in TYPES[file.suffix]
    assert response.text == file.read_text()


@pytest.mark.profiles("nginx", "apache")
@pytest.mark.parametrize(
    "path",
    [
        "/index.htm",
        "/../nginx.conf",
        "/.answers/",
        "/.answers/503.asis",
        "/.again",
        "/.first/127.0.0.1",
        "/.git/config",
        "/%2e%2e/etc/passwd",
        "/wss/",
    ],
)
def test_only_files_of_the_site_are_served(target: Target, path: str) -> None:
    assert http_request(target, path=path).status in (400, 403, 404)


def test_the_websocket_path_allows_only_get(target: Target) -> None:
    response = http_request(target, method="POST", headers={"Content-Length": "0"})
    assert response.status == 405
    assert response.headers["allow"] == "GET"


def test_the_page_has_security_headers(target: Target) -> None:
    headers = http_request(target, path="/").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    # The rest of the policy is in the page itself (tests/unit/test_page.py).
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "strict-transport-security" not in headers


@pytest.mark.parametrize("path", ["/", "/index.js"])
def test_browsers_ask_whether_a_file_of_the_pages_has_changed(target: Target, path: str) -> None:
    assert http_request(target, path=path).headers["cache-control"] == "no-cache"
