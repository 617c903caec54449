"""Row 17 of the contract with common clients: the page in Chromium; Node, curl and websocket-client."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import websocket as websocket_client
from browser import console_errors, url_of, visit
from eventually import eventually
from playwright.sync_api import Browser, Error, Page, expect
from stack import REPOSITORY, Stack

LOCALES = {"en-US": ("open", "Send “tom”"), "zh-CN": ("已连接", "发送“tom”"), "zh-TW": ("已連線", "傳送「tom」")}


# What the page itself does, with the same files (test_site.py), is the same in all profiles.
one_profile = pytest.mark.profiles("nginx")

_HEIGHTS_OF_SNIPPETS = """[...document.querySelectorAll("pre")].map(pre => {
    const { lineHeight, paddingTop, paddingBottom } = getComputedStyle(pre)
    const lines = pre.textContent.split("\\n").length
    return [pre.clientHeight, lines * parseFloat(lineHeight) + parseFloat(paddingTop) + parseFloat(paddingBottom)]
})"""
_BACKGROUND = "selector => getComputedStyle(document.querySelector(selector)).backgroundColor"
# The probe handler's echo.
_ECHO = "window.WebSocket = class extends WebSocket { constructor(url, ...rest) { super(`${url}?app=echo`, ...rest) } }"


def _file_of(url: str) -> Path:
    return REPOSITORY / "site" / (urlsplit(url).path.lstrip("/") or "index.html")


@pytest.fixture
def page(chrome: Browser) -> Iterator[Page]:
    """A page in a new context of the shared Chromium."""
    context = chrome.new_context()
    yield context.new_page()
    context.close()


def test_a_click_on_the_page_sends_tom_and_shows_ok(stack: Stack, page: Page) -> None:
    errors = console_errors(page)
    visit(page, url_of(stack))
    expect(page.locator("#state")).to_have_attribute("data-state", "open")
    expect(page.locator("#address")).to_have_text(url_of(stack, "wss"))
    # Before the first round trip, there is a text in place of the chart, whose room it keeps.
    expect(page.locator("#chart")).to_be_hidden()
    expect(page.locator("#chart-summary")).to_have_text("No round trip yet. Send a message.")
    place = page.locator("#elsewhere").bounding_box()
    page.click("#send-tom")
    expect(page.locator("#log [data-direction=sent]")).to_have_text(re.compile("tom$"))
    expect(page.locator("#log [data-direction=received]")).to_have_text(re.compile("ok$"))
    expect(page.locator("#round-trip")).to_have_text(re.compile(r"^\d+\.\d ms$"))
    expect(page.locator("#chart")).to_have_attribute("aria-label", re.compile(r"\d ms"))
    assert page.locator("#elsewhere").bounding_box() == place
    expect(page.locator("#handler")).to_contain_text("example handler")
    # The keyboard is enough, and typed HTML is shown as text.
    page.locator("#message").focus()
    page.keyboard.type("<b>mine</b>")
    page.keyboard.press("Enter")
    expect(page.locator("#log [data-direction=sent]").last).to_have_text(re.compile("<b>mine</b>$"))
    expect(page.locator("#log [data-direction=received]")).to_have_count(2)
    for snippet in ("#snippet-browser", "#snippet-python", "#snippet-shell"):
        expect(page.locator(snippet)).to_contain_text(url_of(stack, "wss").removeprefix("wss"))
    # A visitor has no clone, and no development CA.
    expect(page.locator("body")).not_to_contain_text(re.compile("docker compose|certs/live"))
    assert errors == []


@one_profile
def test_the_page_can_send_every_second(stack: Stack, page: Page) -> None:
    visit(page, url_of(stack))
    page.check("#steady")
    eventually(lambda: page.locator("#log [data-direction=received]").count() >= 3, "three replies arrive")
    page.click("#connect")
    expect(page.locator("#state")).to_have_attribute("data-state", "closed")
    expect(page.locator("#log")).to_contain_text("1000")


@one_profile
@pytest.mark.parametrize("locale", LOCALES)
def test_the_page_is_in_the_browsers_language_and_fits_a_phone(stack: Stack, chrome: Browser, locale: str) -> None:
    state, button = LOCALES[locale]
    phone = chrome.new_context(locale=locale, viewport={"width": 320, "height": 640}, color_scheme="dark")
    with closing(phone):
        page = phone.new_page()
        visit(page, url_of(stack))
        expect(page.locator("#state")).to_have_text(state)
        expect(page.locator("#send-tom")).to_have_text(button)
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        assert str(page.evaluate("document.documentElement.lang")).startswith(locale[:2])
        # Each line of code is one line, also if it has to scroll, and each address is whole.
        heights = page.evaluate(_HEIGHTS_OF_SNIPPETS)
        assert [shown for shown, expected in heights if abs(shown - expected) > 1] == []
        address = page.locator("#address")
        assert address.evaluate("element => element.getClientRects().length") == 1
        assert address.evaluate("element => element.clientHeight < 2 * parseFloat(getComputedStyle(element).fontSize)")
        # A field for text does not look like a disabled one.
        assert page.evaluate(_BACKGROUND, "#message") != page.evaluate(_BACKGROUND, "[aria-disabled=true], .card")


@one_profile
def test_with_another_handler_the_page_reports_that_it_may_not_understand_tom(stack: Stack, page: Page) -> None:
    page.add_init_script(_ECHO)
    visit(page, url_of(stack))
    expect(page.locator("#handler")).to_contain_text("example handler")
    page.click("#send-tom")
    expect(page.locator("#log [data-direction=received]")).to_have_text(re.compile("tom$"))
    expect(page.locator("#handler")).to_contain_text("another handler")


@one_profile
def test_on_the_readers_own_machine_the_page_names_the_doctor_and_attempts_that_fail_are_one_entry(page: Page) -> None:
    # The page itself, without a server behind it.
    page.route("https://localhost/**", lambda route, request: route.fulfill(path=_file_of(request.url)))
    page.goto("https://localhost/")
    expect(page.locator("#snippet-shell")).to_contain_text("docker compose run --rm doctor wss://localhost/wss")
    detail = "1006, no connection, or the connection was lost. The browser gives no details, the doctor does"
    expect(page.locator("#detail")).to_contain_text(detail)
    # Or more: the page does not wait for a busy machine.
    expect(page.locator("#log .count")).to_have_text(re.compile(r"^\u00d7([3-9]|\d\d+)$"))
    expect(page.locator("#log p")).to_have_count(1)
    expect(page.locator("#state")).to_have_text(re.compile(r"reconnecting in \d+\ss$"))


@one_profile
def test_the_chat_page_reports_that_the_server_runs_another_handler(stack: Stack, page: Page) -> None:
    visit(page, f"{url_of(stack)}chat.html")
    page.fill("#name", "Ann")
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_have_text("This server does not run the chat.")
    expect(page.locator("#name")).to_be_focused()


def test_a_page_from_https_cannot_open_ws(stack: Stack, page: Page) -> None:
    # Not from the page itself, whose own policy would refuse first.
    visit(page, f"{url_of(stack)}no-page")
    with pytest.raises(Error, match="insecure WebSocket connection may not be initiated from a page loaded over HTTPS"):
        page.evaluate("address => void new WebSocket(address)", url_of(stack, "ws"))
    errors = console_errors(page)
    visit(page, url_of(stack))
    page.evaluate("address => void new WebSocket(address)", url_of(stack, "ws"))
    refusal = "Content Security Policy"
    eventually(lambda: page.title() and any(refusal in error for error in errors), "the page's policy refuses it, too")


NODE = """
const ws = new WebSocket(process.argv[1]);
ws.onopen = () => ws.send("tom");
ws.onmessage = event => { console.log(event.data); ws.close(1000); };
ws.onerror = event => { console.log(event.message ?? "error"); process.exit(1); };
"""


def test_node_verifies_the_certificate_and_gets_ok(clients: str, stack: Stack, ca_file: Path) -> None:
    connect = 'node --experimental-websocket --eval "$0" "$1"; echo "exit $?"'
    script = f"{connect}; export NODE_EXTRA_CA_CERTS=/ca.pem; {connect}"
    output = stack.run_beside(clients, ["bash", "-c", script, NODE, url_of(stack, "wss")], {"/ca.pem": ca_file})
    refused, _, accepted = output.partition("exit 1\n")
    assert "ok" not in refused
    assert accepted == "ok\nexit 0\n"


def test_curl_verifies_the_certificate_and_gets_101(clients: str, stack: Stack, ca_file: Path) -> None:
    # curl sends no messages, and waits for data until --max-time is over: exit code 28.
    connect = 'curl --silent --show-error --max-time 2 --dump-header - "$0"'
    script = f'{connect}; echo "exit $?"; {connect} --cacert /ca.pem; echo "exit $?"'
    output = stack.run_beside(clients, ["bash", "-c", script, url_of(stack, "wss")], {"/ca.pem": ca_file})
    refused, end, accepted = output.partition("exit 60\n")
    assert (refused, end) == ("", "exit 60\n")
    assert accepted.startswith("HTTP/1.1 101 ")
    assert accepted.endswith("exit 28\n")


def test_websocket_client_gets_ok(stack: Stack, ca_file: Path) -> None:
    script = """
import sys, websocket
ws = websocket.create_connection(sys.argv[1], sslopt={"ca_certs": "/ca.pem"})
ws.send("tom")
print(ws.recv())
"""
    installed = Path(websocket_client.__file__).parent
    files = {"/ca.pem": ca_file, "/client/websocket": installed}
    output = stack.run_client(script, url_of(stack, "wss"), files=files, environment={"PYTHONPATH": "/client"})
    assert output == "ok\n"
