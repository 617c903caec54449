"""The pages in Chromium, with the chat: an unknown CA, a restart, and people who talk to each other."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from browser import NAME, WHOLE_CHROMIUM, chromium, console_errors, url_of, visit
from fixtures import NewStack
from playwright.sync_api import Browser, Error, Page, Playwright, ViewportSize, expect
from stack import Stack

pytestmark = pytest.mark.long  # the chat itself is the same in all profiles: most of its tests use one

PHONE: ViewportSize = {"width": 320, "height": 640}
PHONE_WITH_KEYBOARD: ViewportSize = {"width": 390, "height": 400}
# What the browser's language makes of the page, and of a time.
LOCALES = {
    "en-US": ("en", "Send", r"\d:\d\d\s[AP]M"),
    "de-DE": ("en", "Send", r"\d\d:\d\d$"),
    "zh-CN": ("zh-Hans", "发送", r"\d\d:\d\d$"),
    "zh-TW": ("zh-Hant", "傳送", r"[\u4e00-\u9fff]{2}\d+:\d\d$"),
}

EnterChat = Callable[..., Page]


@pytest.fixture(scope="module")
def shared(profile: str, new_shared_stack: NewStack) -> Stack:
    stack = new_shared_stack(profile, DOMAIN=NAME, APP="apps.chat:handler")
    stack.up()
    return stack


@pytest.fixture(scope="module")
def browser(playwright: Playwright, clients: str, shared: Stack, ca_file: Path) -> Iterator[Browser]:
    assert clients
    with chromium(playwright, shared, ca_file) as browser:
        yield browser


@pytest.fixture
def enter_chat(browser: Browser, shared: Stack) -> Iterator[EnterChat]:
    """Return a function that lets somebody enter a room, each in a browser of their own."""
    with ExitStack() as opened:

        def enter_chat(name: str, room: str, **options: Any) -> Page:
            page = opened.enter_context(closing(browser.new_context(**options))).new_page()
            visit(page, f"{url_of(shared)}chat.html")
            _enter(page, name, room)
            return page

        yield enter_chat


def _enter(page: Page, name: str, room: str) -> None:
    page.fill("#name", name)
    page.fill("#room", room)
    page.keyboard.press("Enter")


def _say(page: Page, text: str) -> None:
    expect(page.locator("#state")).to_have_attribute("data-state", "open")
    page.fill("#text", text)
    page.keyboard.press("Enter")


def _fits(page: Page) -> bool:
    """Return whether the page as a whole does not scroll."""
    return bool(page.evaluate("(e => e.scrollWidth <= innerWidth && e.scrollHeight <= innerHeight)(document.body)"))


def test_the_browser_warns_of_an_unknown_ca(playwright: Playwright, clients: str, shared: Stack) -> None:
    assert clients
    with chromium(playwright, shared, None, WHOLE_CHROMIUM) as browser:
        page = browser.new_page()
        with pytest.raises(Error, match="net::ERR_CERT_AUTHORITY_INVALID"):
            visit(page, url_of(shared))
        expect(page.locator("body")).to_contain_text("ERR_CERT_AUTHORITY_INVALID")


def test_the_page_reconnects_after_a_restart(browser: Browser, shared: Stack) -> None:
    with closing(browser.new_context()) as context:
        page = context.new_page()
        visit(page, url_of(shared))
        expect(page.locator("#state")).to_have_attribute("data-state", "open")
        outcome = shared.compose("restart", shared.server)
        assert outcome.code == 0, outcome.output
        expect(page.locator("#log")).to_contain_text("1001")
        expect(page.locator("#state")).to_have_attribute("data-state", "open")
        page.click("#send-tom")
        expect(page.locator("#log [data-direction=received]")).to_contain_text("the message is not valid JSON")
        expect(page.locator("#handler")).to_contain_text("another handler")


def test_two_users_chat(enter_chat: EnterChat) -> None:
    ann, bob = (enter_chat(name, "tea", viewport=PHONE) for name in ("Ann", "Bob"))
    errors = console_errors(ann)
    expect(ann.locator("#names li")).to_have_text(["Ann (you)", "Bob"])
    expect(bob.locator("#names li")).to_have_text(["Ann", "Bob (you)"])
    # The keyboard is enough, and typed HTML is shown as text.
    ann.locator("#text").focus()
    ann.keyboard.type("<b>hello</b>")
    ann.keyboard.press("Enter")
    for page in (ann, bob):
        expect(page.locator("#log .message")).to_have_text(re.compile("^Ann .*<b>hello</b>$"))
    # Own messages are on the other side.
    expect(ann.locator("#log .message.own")).to_have_count(1)
    expect(bob.locator("#log .message.own")).to_have_count(0)
    sides = [page.locator("#log .message").bounding_box() for page in (ann, bob)]
    assert sides[0]
    assert sides[1]
    assert sides[0]["x"] > sides[1]["x"] + 20
    _say(bob, "/w Ann psst")
    expect(ann.locator("#log .whisper")).to_have_text(re.compile("^Bob → Ann .*psst$"))
    _say(bob, "/w Carl psst")
    expect(bob.locator("#log")).to_contain_text("Carl is not here")
    # A mistyped whisper is not sent to the room, and its text stays in the input.
    _say(bob, " /W Ann")
    expect(bob.locator("#log")).to_contain_text("a whisper is: /w NAME TEXT")
    expect(bob.locator("#text")).to_have_value(" /W Ann")
    _say(bob, " /W  Ann once more")
    expect(ann.locator("#log .whisper").last).to_have_text(re.compile("once more$"))
    expect(ann.locator("#log .message")).to_have_count(1)
    # A click on a name starts a whisper.
    ann.click("#names button")
    ann.keyboard.type("back to you")
    ann.keyboard.press("Enter")
    expect(bob.locator("#log .whisper").last).to_have_text(re.compile("^Ann → Bob .*back to you$"))
    assert _fits(ann)
    assert ann.evaluate("document.querySelector('#log').clientWidth > innerWidth / 2")
    bob.close()
    expect(ann.locator("#names li")).to_have_text(["Ann (you)"])
    assert errors == []


@pytest.mark.profiles("nginx")
def test_a_second_ann_is_refused_and_one_that_comes_later_is_marked(enter_chat: EnterChat) -> None:
    ann, bob = (enter_chat(name, "coffee") for name in ("Ann", "Bob"))
    expect(bob.locator("#names li")).to_have_text(["Ann", "Bob (you)"])
    _say(ann, "from the first")
    eve = enter_chat("ann", "coffee")
    expect(eve.locator("#notice")).to_contain_text("“ann”, or a name that looks the same, is taken in this room")
    expect(eve.locator("#name")).to_be_focused()
    _enter(eve, "\u0410nn", "coffee")  # a Cyrillic letter
    expect(eve.locator("#notice")).to_contain_text("cannot be a name")
    # Another tab of the same browser is the same person.
    tab = ann.context.new_page()
    visit(tab, ann.url)
    _enter(tab, "Ann", "coffee")
    expect(tab.locator("#state")).to_have_attribute("data-state", "open")
    for page in (ann, tab):
        page.click("#leave")
    expect(bob.locator("#log")).to_contain_text("Ann is gone")
    _enter(eve, "Ann", "coffee")
    _say(eve, "from the second")
    expect(bob.locator("#log .message b")).to_have_text(["Ann", "Ann (2)"])
    expect(bob.locator("#names li")).to_have_text(["Ann (2)", "Bob (you)"])


@pytest.mark.profiles("nginx")
def test_one_can_leave_and_enter_another_room(enter_chat: EnterChat) -> None:
    ann, bob = (enter_chat(name, "mint") for name in ("Ann", "Bob"))
    expect(bob.locator("#names li")).to_have_text(["Ann", "Bob (you)"])
    _say(ann, "in mint")
    ann.click("#leave")
    expect(bob.locator("#log")).to_contain_text("Ann is gone")
    expect(ann.locator("#room")).to_be_focused()
    ann.keyboard.type("ginger")
    ann.keyboard.press("Enter")
    expect(ann.locator("#heading")).to_have_text("ginger")
    expect(ann.locator("#names li")).to_have_text(["Ann (you)"])
    _say(ann, "in ginger")
    expect(ann.locator("#log .message")).to_have_text(re.compile("in ginger$"))
    expect(bob.locator("#log .message")).to_have_text(re.compile("in mint$"))


@pytest.mark.profiles("nginx")
def test_while_the_server_is_away_there_is_a_countdown_and_nothing_can_be_sent(
    enter_chat: EnterChat, shared: Stack
) -> None:
    ann = enter_chat("Ann", "oolong")
    send, state = ann.locator("#send"), ann.locator("#state")
    expect(send).to_have_attribute("aria-disabled", "false")
    assert shared.compose("stop", shared.server).code == 0
    expect(state).to_have_text(re.compile(r"reconnecting in \d+\ss$"))
    expect(state.locator("[aria-hidden=true]")).to_have_text(re.compile(r"^ in \d+\ss$"))
    expect(send).to_have_attribute("aria-disabled", "true")
    ann.fill("#text", "are you there?")
    ann.keyboard.press("Enter")
    # Not its last entry, which on a busy machine is soon that of the next attempt to connect.
    expect(ann.locator("#log")).to_contain_text("not sent: there is no connection")
    expect(ann.locator("#text")).to_have_value("are you there?")
    assert shared.compose("start", shared.server).code == 0
    expect(state).to_have_attribute("data-state", "open")
    expect(state).to_have_text("as Ann")
    expect(send).to_have_attribute("aria-disabled", "false")
    # Without a hub, the kept messages are lost.
    expect(ann.locator("#log")).to_contain_text("messages may be missing here")
    expect(ann.locator("#names li")).to_have_text(["Ann (you)"])
    expect(ann.locator("#log .message")).to_have_count(0)
    ann.locator("#text").press("Enter")
    expect(ann.locator("#log .message")).to_have_text(re.compile("are you there[?]$"))


@pytest.mark.profiles("nginx")
@pytest.mark.parametrize("locale", LOCALES)
def test_the_chat_is_in_the_browsers_language_with_times_in_its_format(enter_chat: EnterChat, locale: str) -> None:
    language, button, time = LOCALES[locale]
    ann = enter_chat("Ann", locale, locale=locale, viewport=PHONE, color_scheme="dark")
    expect(ann.locator("#send")).to_have_text(button)
    _say(ann, "hello")
    expect(ann.locator("#log .message time")).to_have_text(re.compile(time))
    assert ann.evaluate("document.documentElement.lang") == language
    assert _fits(ann)


@pytest.mark.profiles("nginx")
def test_on_a_phone_with_its_keyboard_the_messages_have_most_of_the_room(enter_chat: EnterChat) -> None:
    ann = enter_chat("Ann", "assam", viewport=PHONE_WITH_KEYBOARD)
    for number in range(20):
        _say(ann, f"message {number}")
    expect(ann.locator("#log .message")).to_have_count(20)
    assert ann.evaluate("document.querySelector('#log').clientHeight / innerHeight") > 0.6
    expect(ann.locator("#log .message").last).to_be_in_viewport(ratio=1)
    for selector in ("#text", "#send", "#leave", "#state"):
        expect(ann.locator(selector)).to_be_in_viewport(ratio=1)
    assert _fits(ann)
    # The keyboard opens and closes: the last message stays in view.
    for size in (PHONE, PHONE_WITH_KEYBOARD):
        ann.set_viewport_size(size)
        expect(ann.locator("#log .message").last).to_be_in_viewport(ratio=1)
    ann.click("#leave")
    expect(ann.locator("#enter button")).to_be_in_viewport(ratio=1)
