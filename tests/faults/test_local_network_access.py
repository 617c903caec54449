"""Chromium asks its user before a page from a public address may connect to a private or loopback one.

https://developer.chrome.com/blog/local-network-access; WebSockets since version 147. docs/troubleshooting.md has the
error. A frame of another site may ask only with an `allow` attribute. A permission that DevTools grants holds in frames
without it, too, so that the policy of the frame is read, which decides whether the user is asked.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from browser import WHOLE_CHROMIUM, chromium, console_errors, url_of, visit
from eventually import eventually
from playwright.sync_api import Browser, Frame, Page, Playwright
from stack import ALLOWED_ORIGIN, Stack

# It is the browser that decides: one profile is enough.
pytestmark = pytest.mark.profiles("nginx")

BLOCKED = "ERR_BLOCKED_BY_LOCAL_NETWORK_ACCESS_CHECKS"
CONNECT = """address => new Promise(resolve => {
    const socket = new WebSocket(address)
    socket.onopen = () => resolve(true)
    socket.onclose = () => resolve(false)
})"""
FRAME = "https://frame.example/"
ADD_FRAME = """([src, allow]) => new Promise(resolve => {
    const frame = Object.assign(document.createElement("iframe"), {src, allow, onload: resolve})
    document.body.append(frame)
})"""
POLICY = "document.featurePolicy.allowedFeatures().filter(feature => feature.includes('network'))"
PUBLIC = {"Content-Type": "text/html", "Content-Security-Policy": "treat-as-public-address"}


@pytest.fixture(scope="module")
def chrome(playwright: Playwright, clients: str, stack: Stack, ca_file: Path) -> Iterator[Browser]:
    """All of Chromium: the headless shell has no such permission."""
    assert clients
    with chromium(playwright, stack, ca_file, WHOLE_CHROMIUM) as browser:
        yield browser


@contextmanager
def _public_page(chrome: Browser, *permissions: str) -> Iterator[Page]:
    """Open a page that counts as one from a public address."""
    context = chrome.new_context()
    try:
        context.grant_permissions(list(permissions))
        page = context.new_page()
        page.route(f"{ALLOWED_ORIGIN}/", lambda route: route.fulfill(body="a page", headers=PUBLIC))
        visit(page, f"{ALLOWED_ORIGIN}/")
        yield page
    finally:
        context.close()


def _add_frame(page: Page, allow: str) -> Frame:
    """Add a frame of another public site with this `allow` attribute."""
    page.route(FRAME, lambda route: route.fulfill(body="a frame", headers=PUBLIC))
    page.evaluate(ADD_FRAME, [FRAME, allow])
    return eventually(lambda: page.frame(url=FRAME), "the frame loads")


def _opens(page: Page | Frame, stack: Stack) -> bool:
    return bool(page.evaluate(CONNECT, url_of(stack, "wss")))


def test_a_public_page_connects_only_if_the_user_allows_it(stack: Stack, chrome: Browser) -> None:
    with _public_page(chrome) as page:
        errors = console_errors(page)
        # evaluate also lets Playwright deliver the console's messages.
        eventually(lambda: not _opens(page, stack) and any(BLOCKED in error for error in errors), BLOCKED)
    with _public_page(chrome, "local-network-access") as page:
        eventually(lambda: _opens(page, stack), "the websocket opens")


# https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Permissions-Policy/local-network-access
@pytest.mark.parametrize(
    ("allow", "policy"),
    [
        ("", set()),
        ("local-network-access", {"local-network-access", "local-network", "loopback-network"}),
        ("local-network", {"local-network"}),
        ("loopback-network", {"loopback-network"}),
    ],
)
def test_a_frame_may_ask_the_user_only_with_an_allow_attribute(
    stack: Stack, chrome: Browser, allow: str, policy: set[str]
) -> None:
    with _public_page(chrome) as page:
        frame = _add_frame(page, allow)
        assert set(frame.evaluate(POLICY)) == policy
        # Nobody answers the prompt of a headless browser, so that it is blocked in any case.
        errors = console_errors(page)
        eventually(lambda: not _opens(frame, stack) and any(BLOCKED in error for error in errors), BLOCKED)
