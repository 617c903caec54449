"""Chromium asks its user before a page from a public address may connect to a private or loopback one.

https://developer.chrome.com/blog/local-network-access; WebSockets since version 147. The troubleshooting table of the
README has the error. That iframes also need an `allow` attribute cannot be tested: a permission that DevTools grants
holds for them, too.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from browser import console_errors, url_of, visit
from eventually import eventually
from playwright.sync_api import Browser, Page
from stack import ALLOWED_ORIGIN, Stack

# It is the browser that decides: one profile is enough.
pytestmark = pytest.mark.profiles("nginx")

BLOCKED = "ERR_BLOCKED_BY_LOCAL_NETWORK_ACCESS_CHECKS"
CONNECT = """address => new Promise(resolve => {
    const socket = new WebSocket(address)
    socket.onopen = () => resolve(true)
    socket.onclose = () => resolve(false)
})"""


@contextmanager
def _public_page(chrome: Browser, *permissions: str) -> Iterator[Page]:
    """Open a page that counts as one from a public address."""
    context = chrome.new_context()
    try:
        context.grant_permissions(list(permissions))
        page = context.new_page()
        headers = {"Content-Type": "text/html", "Content-Security-Policy": "treat-as-public-address"}
        page.route(f"{ALLOWED_ORIGIN}/", lambda route: route.fulfill(body="a page", headers=headers))
        visit(page, f"{ALLOWED_ORIGIN}/")
        yield page
    finally:
        context.close()


def _opens(page: Page, stack: Stack) -> bool:
    return bool(page.evaluate(CONNECT, url_of(stack, "wss")))


def test_a_public_page_connects_only_if_the_user_allows_it(stack: Stack, chrome: Browser) -> None:
    with _public_page(chrome) as page:
        errors = console_errors(page)
        # evaluate also lets Playwright deliver the console's messages.
        eventually(lambda: not _opens(page, stack) and any(BLOCKED in error for error in errors), BLOCKED)
    with _public_page(chrome, "local-network-access") as page:
        eventually(lambda: _opens(page, stack), "the websocket opens")
