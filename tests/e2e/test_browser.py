"""Row 17 of the contract, in clients that people have: Chromium on the page, Node, curl, websocket-client."""

import re
from collections.abc import Iterator
from pathlib import Path

import browser
import pytest
import websocket as websocket_client
from browser import NAME, chromium
from docker.errors import ContainerError
from eventually import eventually
from fixtures import NewStack
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Playwright, expect, sync_playwright
from stack import INNER_PORT, Stack

# Docker networks come and go while Chromium loads a page, and it starts anew then.
NETWORK_CHANGED = "net::ERR_NETWORK_CHANGED"

LOCALES = {"en-US": ("open", "Send “tom”"), "zh-CN": ("已连接", "发送“tom”"), "zh-TW": ("已連線", "傳送「tom」")}


@pytest.fixture(scope="session")
def clients() -> str:
    return browser.build()


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture
def chrome(playwright: Playwright, clients: str, stack: Stack, ca_file: Path) -> Iterator[Browser]:
    assert clients
    with chromium(playwright, stack, ca_file) as browser:
        yield browser


def _url(stack: Stack, scheme: str = "https") -> str:
    port = INNER_PORT[stack.profile]
    authority = NAME if port == 443 else f"{NAME}:{port}"
    return f"{scheme}://{authority}/" if scheme == "https" else f"{scheme}://{authority}/wss"


def _visit(page: Page, url: str) -> None:
    def arrives() -> bool:
        try:
            page.goto(url)
        except Error as error:
            if NETWORK_CHANGED not in str(error):
                raise
            return False
        return True

    eventually(arrives, 30, "no network changes while the page loads")


def _complaints(page: Page) -> list[str]:
    """Return what the console says from now on that is an error or a warning."""
    said: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            said.append(message.text)

    page.on("console", listen)
    page.on("pageerror", lambda error: said.append(str(error)))
    return said


def test_the_page_sends_tom_at_a_click_and_shows_ok(stack: Stack, chrome: Browser) -> None:
    page = chrome.new_page()
    complaints = _complaints(page)
    _visit(page, _url(stack))
    expect(page.locator("#state")).to_have_attribute("data-state", "open")
    expect(page.locator("#address")).to_have_text(_url(stack, "wss"))
    page.click("#send-tom")
    expect(page.locator("#log [data-direction=sent]")).to_have_text(re.compile("tom$"))
    expect(page.locator("#log [data-direction=received]")).to_have_text(re.compile("ok$"))
    expect(page.locator("#round-trip")).to_have_text(re.compile(r"^\d+\.\d ms$"))
    expect(page.locator("#chart")).to_have_attribute("aria-label", re.compile(r"\d ms"))
    # By keyboard alone, and what is typed stays text.
    page.locator("#message").focus()
    page.keyboard.type("<b>mine</b>")
    page.keyboard.press("Enter")
    expect(page.locator("#log [data-direction=sent]").last).to_have_text(re.compile("<b>mine</b>$"))
    expect(page.locator("#log [data-direction=received]")).to_have_count(2)
    for snippet in ("#snippet-browser", "#snippet-python", "#snippet-shell"):
        expect(page.locator(snippet)).to_contain_text(_url(stack, "wss").removeprefix("wss"))
    assert complaints == []


def test_the_page_sends_every_second_if_asked_to(stack: Stack, chrome: Browser) -> None:
    page = chrome.new_page()
    _visit(page, _url(stack))
    page.check("#steady")
    expect(page.locator("#log [data-direction=received]")).to_have_count(3, timeout=10_000)
    page.click("#connect")
    expect(page.locator("#state")).to_have_attribute("data-state", "closed")
    expect(page.locator("#log")).to_contain_text("1000")


@pytest.mark.parametrize("locale", LOCALES)
def test_the_page_speaks_the_browsers_language_and_fits_a_phone(stack: Stack, chrome: Browser, locale: str) -> None:
    state, button = LOCALES[locale]
    context = chrome.new_context(locale=locale, viewport={"width": 320, "height": 640}, color_scheme="dark")
    page = context.new_page()
    _visit(page, _url(stack))
    expect(page.locator("#state")).to_have_text(state)
    expect(page.locator("#send-tom")).to_have_text(button)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert str(page.evaluate("document.documentElement.lang")).startswith(locale[:2])


def test_a_page_from_https_may_not_open_ws(stack: Stack, chrome: Browser) -> None:
    page = chrome.new_page()
    # Without the page's own policy, so that it is the browser that refuses.
    _visit(page, f"{_url(stack)}no-page")
    with pytest.raises(Error, match="insecure WebSocket connection may not be initiated from a page loaded over HTTPS"):
        page.evaluate("address => void new WebSocket(address)", _url(stack, "ws"))
    complaints = _complaints(page)
    _visit(page, _url(stack))
    page.evaluate("address => void new WebSocket(address)", _url(stack, "ws"))
    refusal = "Content Security Policy"
    eventually(lambda: page.title() and any(refusal in said for said in complaints), 5, "the page's policy does, too")


def test_the_browser_warns_of_a_ca_that_it_does_not_know(playwright: Playwright, clients: str, stack: Stack) -> None:
    assert clients
    with chromium(playwright, stack, None) as browser:
        page = browser.new_page()
        with pytest.raises(Error, match="net::ERR_CERT_AUTHORITY_INVALID"):
            _visit(page, _url(stack))
        expect(page.locator("body")).to_contain_text("ERR_CERT_AUTHORITY_INVALID")


def test_the_page_is_connected_again_after_a_restart(
    playwright: Playwright, clients: str, new_stack: NewStack, profile: str, ca_file: Path
) -> None:
    assert clients
    stack = new_stack(profile, DOMAIN=NAME)
    stack.up()
    with chromium(playwright, stack, ca_file) as browser:
        page = browser.new_page()
        _visit(page, _url(stack))
        expect(page.locator("#state")).to_have_attribute("data-state", "open")
        outcome = stack.compose("restart", stack.server)
        assert outcome.code == 0, outcome.output
        expect(page.locator("#log")).to_contain_text("1001")
        expect(page.locator("#state")).to_have_attribute("data-state", "open", timeout=60_000)
        page.click("#send-tom")
        expect(page.locator("#log [data-direction=received]")).to_have_text(re.compile("ok$"))


@pytest.mark.profiles("nginx", "apache")
def test_two_people_chat(
    playwright: Playwright, clients: str, new_stack: NewStack, profile: str, ca_file: Path
) -> None:
    assert clients
    stack = new_stack(profile, DOMAIN=NAME, APP="apps.chat:handler")
    stack.up()
    with chromium(playwright, stack, ca_file) as browser:
        ann, bob = (browser.new_context(viewport={"width": 320, "height": 640}).new_page() for _ in range(2))
        complaints = _complaints(ann)
        for page, name in ((ann, "Ann"), (bob, "Bob")):
            _visit(page, f"{_url(stack)}chat.html")
            page.fill("#name", name)
            page.fill("#room", "tea")
            page.keyboard.press("Enter")
            expect(page.locator("#state")).to_have_attribute("data-state", "open")
        for page in (ann, bob):
            expect(page.locator("#names li")).to_have_text(["Ann", "Bob"])
        # By keyboard alone, and what is typed stays text.
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
        # What was meant for one is said to nobody else, and nothing that was typed is lost.
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
        assert complaints == []
        assert stack.compose("restart", stack.server).code == 0
        expect(ann.locator("#state")).to_have_attribute("data-state", "open", timeout=60_000)
        expect(ann.locator("#names li")).to_have_text(["Ann"])


NODE = """
const ws = new WebSocket(process.argv[1]);
ws.onopen = () => ws.send("tom");
ws.onmessage = event => { console.log(event.data); ws.close(1000); };
ws.onerror = event => { console.log(event.message ?? "error"); process.exit(1); };
"""


def test_nodes_websocket_gets_ok_and_verifies(clients: str, stack: Stack, ca_file: Path) -> None:
    command = ["node", "--experimental-websocket", "--eval", NODE, _url(stack, "wss")]
    trusting = {"environment": {"NODE_EXTRA_CA_CERTS": "/ca.pem"}}
    assert stack.run_beside(clients, command, {"/ca.pem": ca_file}, **trusting) == "ok\n"
    with pytest.raises(ContainerError):
        stack.run_beside(clients, command, {})


def test_curl_switches_protocols_and_verifies(clients: str, stack: Stack, ca_file: Path) -> None:
    # It sends nothing by itself, and waits for what comes until its time is over: 28.
    script = 'curl --silent --show-error --max-time 2 --dump-header - "$@" "$0"; echo "exit $?"'
    command = ["bash", "-c", script, _url(stack, "wss")]
    said = stack.run_beside(clients, [*command, "--cacert", "/ca.pem"], {"/ca.pem": ca_file})
    assert said.startswith("HTTP/1.1 101 ")
    assert said.endswith("exit 28\n")
    assert stack.run_beside(clients, command, {}).endswith("exit 60\n")


def test_websocket_client_gets_ok(stack: Stack, ca_file: Path) -> None:
    script = """
import sys, websocket
ws = websocket.create_connection(sys.argv[1], sslopt={"ca_certs": "/ca.pem"})
ws.send("tom")
print(ws.recv())
"""
    installed = Path(websocket_client.__file__).parent
    files = {"/ca.pem": ca_file, "/client/websocket": installed}
    said = stack.run_client(script, _url(stack, "wss"), files=files, environment={"PYTHONPATH": "/client"})
    assert said == "ok\n"
