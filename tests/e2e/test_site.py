"""Row 17 of the contract: one port for the page and the websocket."""

import pytest
from client import Target, ask
from fixtures import Connect
from stack import REPOSITORY

pytestmark = pytest.mark.usefixtures("stack")


def test_the_page_is_served_beside_the_websocket(target: Target, connect: Connect) -> None:
    ws = connect(target)
    answer = ask(target, path="/")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.text == (REPOSITORY / "site" / "index.html").read_text()
    ws.send("tom")
    assert ws.recv() == "ok"


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
def test_what_is_not_of_the_site_is_not_served(target: Target, path: str) -> None:
    assert ask(target, path=path).status in (400, 403, 404)


def test_another_method_on_the_websocket_is_not_allowed(target: Target) -> None:
    answer = ask(target, method="POST", headers={"Content-Length": "0"})
    assert answer.status == 405
    assert answer.headers["allow"] == "GET"


def test_the_page_is_confined(target: Target) -> None:
    headers = ask(target, path="/").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    # The rest is in the page itself (tests/unit/test_page.py).
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "strict-transport-security" not in headers
