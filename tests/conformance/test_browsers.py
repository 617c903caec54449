"""Row 17 of the contract in Firefox and WebKit: the page, its websocket, its reconnect; an unknown CA is refused.

And the page in all of Chromium, of which the other tests use the headless shell.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from browser import WHOLE_CHROMIUM, chromium, console_errors, url_of, visit
from docker.models.containers import Container
from eventually import eventually
from image import build
from playwright.sync_api import Playwright, expect
from stack import Stack

pytestmark = pytest.mark.long

BROWSERS = ("firefox", "webkit")
# What they report for a certificate of an unknown CA.
REFUSED = {"firefox": "SEC_ERROR_UNKNOWN_ISSUER", "webkit": "is not the page"}


@pytest.fixture(scope="session")
def browsers() -> str:
    """The image of both."""
    return build("browsers")


@contextmanager
def _visit(browsers: str, stack: Stack, name: str, ca_file: Path | None) -> Iterator[Container]:
    command = [name, url_of(stack)]
    visitor = stack.start_beside(browsers, {"/ca.pem": ca_file} if ca_file else {}, command=command, shm_size="512m")
    try:
        yield visitor
    finally:
        visitor.remove(force=True, v=True)


def _wait_for(visitor: Container, text: str) -> None:
    def is_logged() -> bool:
        visitor.reload()
        log = visitor.logs().decode()
        assert text in log or visitor.status == "running", log
        return text in log

    eventually(is_logged, f"the browser logs {text!r}")


@pytest.mark.parametrize("name", BROWSERS)
def test_the_page_gets_a_reply_and_reconnects_after_a_restart(
    stack: Stack, browsers: str, name: str, ca_file: Path
) -> None:
    with _visit(browsers, stack, name, ca_file) as visitor:
        _wait_for(visitor, "reply")
        stack.container(stack.server).restart()
        _wait_for(visitor, "lost")
        assert visitor.wait()["StatusCode"] == 0, visitor.logs().decode()
        assert visitor.logs().decode().count("ok") == 2


@pytest.mark.parametrize("name", BROWSERS)
def test_an_unknown_ca_is_refused(stack: Stack, browsers: str, name: str) -> None:
    with _visit(browsers, stack, name, None) as visitor:
        assert visitor.wait()["StatusCode"] == 1
        log = visitor.logs().decode()
        assert "refused: " in log
        assert REFUSED[name] in log


def test_the_page_gets_a_reply_in_chromium(playwright: Playwright, clients: str, stack: Stack, ca_file: Path) -> None:
    assert clients
    with chromium(playwright, stack, ca_file, WHOLE_CHROMIUM) as browser:
        page = browser.new_page()
        errors = console_errors(page)
        visit(page, url_of(stack))
        expect(page.locator("#state")).to_have_attribute("data-state", "open")
        page.click("#send-tom")
        expect(page.locator("#log [data-direction=received]")).to_have_text(re.compile("ok$"))
        assert errors == []
