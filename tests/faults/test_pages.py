"""The pages in Chromium: reconnect after a restart, an unknown CA, and a chat of two users."""

import re
from pathlib import Path

import pytest
from browser import NAME, chromium, console_errors, url_of, visit
from fixtures import NewStack
from playwright.sync_api import Error, Playwright, expect
from stack import Stack

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def shared(profile: str, new_shared_stack: NewStack) -> Stack:
    stack = new_shared_stack(profile, DOMAIN=NAME)
    stack.up()
    return stack


def test_the_browser_warns_of_an_unknown_ca(playwright: Playwright, clients: str, shared: Stack) -> None:
    assert clients
    with chromium(playwright, shared, None) as browser:
        page = browser.new_page()
        with pytest.raises(Error, match="net::ERR_CERT_AUTHORITY_INVALID"):
            visit(page, url_of(shared))
        expect(page.locator("body")).to_contain_text("ERR_CERT_AUTHORITY_INVALID")


def test_the_page_reconnects_after_a_restart(
    playwright: Playwright, clients: str, shared: Stack, ca_file: Path
) -> None:
    assert clients
    with chromium(playwright, shared, ca_file) as browser:
        page = browser.new_page()
        visit(page, url_of(shared))
        expect(page.locator("#state")).to_have_attribute("data-state", "open")
        outcome = shared.compose("restart", shared.server)
        assert outcome.code == 0, outcome.output
        expect(page.locator("#log")).to_contain_text("1001")
        expect(page.locator("#state")).to_have_attribute("data-state", "open")
        page.click("#send-tom")
        expect(page.locator("#log [data-direction=received]")).to_have_text(re.compile("ok$"))


@pytest.mark.profiles("nginx", "apache")
def test_two_users_chat(playwright: Playwright, clients: str, new_stack: NewStack, profile: str, ca_file: Path) -> None:
    assert clients
    stack = new_stack(profile, DOMAIN=NAME, APP="apps.chat:handler")
    stack.up()
    with chromium(playwright, stack, ca_file) as browser:
        ann, bob = (browser.new_context(viewport={"width": 320, "height": 640}).new_page() for _ in range(2))
        errors = console_errors(ann)
        for page, name in ((ann, "Ann"), (bob, "Bob")):
            visit(page, f"{url_of(stack)}chat.html")
            page.fill("#name", name)
            page.fill("#room", "tea")
            page.keyboard.press("Enter")
            expect(page.locator("#state")).to_have_attribute("data-state", "open")
        for page in (ann, bob):
            expect(page.locator("#names li")).to_have_text(["Ann", "Bob"])
        # The keyboard is enough, and typed HTML is shown as text.
        ann.keyboard.type("<b>hello</b>")
        ann.keyboard.press("Enter")
        for page in (ann, bob):
            expect(page.locator("#log .message")).to_have_text(re.compile("Ann <b>hello</b>$"))
        bob.fill("#text", "/w Ann psst")
        bob.keyboard.press("Enter")
        expect(ann.locator("#log .whisper")).to_have_text(re.compile("Bob → Ann psst$"))
        bob.fill("#text", "/w Carl psst")
        bob.keyboard.press("Enter")
        expect(bob.locator("#log")).to_contain_text("'Carl' is not here")
        # A mistyped whisper is not sent to the room, and its text stays in the input.
        bob.fill("#text", " /W Ann")
        bob.keyboard.press("Enter")
        expect(bob.locator("#log")).to_contain_text("a whisper is: /w name text")
        expect(bob.locator("#text")).to_have_value(" /W Ann")
        bob.fill("#text", " /W  Ann once more")
        bob.keyboard.press("Enter")
        expect(ann.locator("#log .whisper").last).to_have_text(re.compile("Bob → Ann once more$"))
        expect(ann.locator("#log .message")).to_have_count(1)
        assert ann.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        assert ann.evaluate("document.querySelector('#log').clientWidth > innerWidth / 2")
        bob.close()
        expect(ann.locator("#names li")).to_have_text(["Ann"])
        assert errors == []
        assert stack.compose("restart", stack.server).code == 0
        # Without a hub, the kept messages are lost.
        expect(ann.locator("#log")).to_contain_text("messages may be missing here")
        expect(ann.locator("#state")).to_have_attribute("data-state", "open")
        expect(ann.locator("#names li")).to_have_text(["Ann"])
