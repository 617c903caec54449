"""The page on `/` and its script: served without Upgrade; the Content-Security-Policy matches the content."""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest
from test_handshake_policy import decide, request

SITE = Path(__file__).parents[2] / "site"
PAGE = SITE / "index.html"


def test_a_request_without_upgrade_gets_the_page() -> None:
    response = decide(request("/?x=1", without="Upgrade"), PAGE=str(PAGE))
    assert response
    assert (response.status, response.body) == (200, PAGE.read_bytes())
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"


def test_a_request_for_a_script_beside_the_page_gets_it() -> None:
    response = decide(request("/client.js", without="Upgrade"), PAGE=str(PAGE))
    assert response
    assert (response.status, response.body) == (200, (SITE / "client.js").read_bytes())
    assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
    other = decide(request("/other.js", without="Upgrade"), PAGE=str(PAGE))
    assert other
    assert other.status == 404


def test_a_request_with_upgrade_gets_the_websocket() -> None:
    assert decide(request("/"), PAGE=str(PAGE)) is None


@pytest.mark.parametrize(("path", "environment"), [("/wss", {"PAGE": str(PAGE)}), ("/", {})])
def test_on_another_path_or_without_a_page_it_gets_426(path: str, environment: dict[str, str]) -> None:
    response = decide(request(path, without="Upgrade"), **environment)
    assert response
    assert response.status == 426


@pytest.mark.parametrize("element", ["style", "script"])
@pytest.mark.parametrize("name", ["index.html", "chat.html"])
def test_the_policy_of_a_page_allows_only_its_own_content(name: str, element: str) -> None:
    page = (SITE / name).read_text()
    (content,) = re.findall(rf"<{element}[^>]*>(.*?)</{element}>", page, re.DOTALL)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    digest = b64encode(sha256(content.encode()).digest()).decode()
    source = {"style": "", "script": "'self' "}[element]
    assert f"{element}-src {source}'sha256-{digest}'" in policy, f"the hash of the changed {element} is {digest}"
    assert policy.startswith("default-src 'none'; connect-src 'self'; img-src data:;")
