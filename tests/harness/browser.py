"""Real clients (mainly Chromium) in a separate container on the stack's edge network."""

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from eventually import LIMIT, eventually
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Playwright, expect
from stack import INNER_PORT, REPOSITORY, Stack

CLIENTS_IMAGE = "wss-clients"
NAME = "wss.example"
DEVTOOLS = 9223
# Chromium cancels requests when a network interface changes, for example when another test creates a Docker network.
NETWORK_CHANGED = "net::ERR_NETWORK_CHANGED"

expect.set_options(timeout=LIMIT * 1000)


# All of Chromium. The default is its headless shell: the same engine and network code without the browser around them,
# so that a page costs a sixth of the CPU time. Playwright's default, too:
# https://playwright.dev/docs/browsers#chromium-headless-shell
WHOLE_CHROMIUM = ("browser", "chromium", "--headless")


def build_clients() -> None:
    """Build the image with Chromium, Node and curl; later runs reuse it."""
    directory = REPOSITORY / "tests" / "harness" / "clients"
    subprocess.run(["docker", "build", "--quiet", "--tag", CLIENTS_IMAGE, directory], check=True)


@contextmanager
def chromium_container(stack: Stack, ca: Path | None, command: Sequence[str] | None = None) -> Iterator[str]:
    """Start a Chromium that trusts this CA in addition to the public CAs, and reaches the stack as wss.example.

    Return its address.
    """
    container = stack.start_beside(CLIENTS_IMAGE, {"/ca.pem": ca} if ca else {}, command=command)
    try:
        yield str(container.attrs["NetworkSettings"]["Networks"][f"{stack.project}_edge"]["IPAddress"])
    finally:
        container.remove(force=True, v=True)


@contextmanager
def chromium(
    playwright: Playwright, stack: Stack, ca: Path | None, command: Sequence[str] | None = None
) -> Iterator[Browser]:
    """Start a Chromium as above, and control it with Playwright."""
    with chromium_container(stack, ca, command) as address:
        browser = connect_to_chromium(playwright, address)
        try:
            yield browser
        finally:
            browser.close()


def connect_to_chromium(playwright: Playwright, address: str) -> Browser:
    """Connect to a Chromium in a container with this address, as soon as it accepts connections."""

    def connect() -> Browser | None:
        try:
            return playwright.chromium.connect_over_cdp(f"http://{address}:{DEVTOOLS}")
        except Error as error:
            if not re.search("ECONNREFUSED|ECONNRESET|socket hang up", str(error)):
                raise
            return None

    return eventually(connect, "Chromium accepts DevTools connections")


def url_of(stack: Stack, scheme: str = "https") -> str:
    """Return the URL of the page, or with `wss` of the websocket, for a client in a container."""
    port = INNER_PORT[stack.profile]
    authority = NAME if port == 443 else f"{NAME}:{port}"
    return f"{scheme}://{authority}/" if scheme == "https" else f"{scheme}://{authority}/wss"


def visit(page: Page, url: str) -> None:
    """Load the page; try again if a network change interrupts it."""

    def is_loaded() -> bool:
        try:
            page.goto(url, timeout=LIMIT * 1000)
        except Error as error:
            if NETWORK_CHANGED not in str(error):
                raise
            return False
        return True

    eventually(is_loaded, "the page loads without a network change")


def console_errors(page: Page) -> list[str]:
    """Return a list to which the console's errors and warnings are appended from now on.

    Not those of requests that a network change has cancelled: the page, or `visit`, sends them again.
    """
    errors: list[str] = []

    def add(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and NETWORK_CHANGED not in message.text:
            errors.append(message.text)

    page.on("console", add)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return errors
