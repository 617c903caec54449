"""Real clients in a container of their own, on the network that clients come by: Chromium above all."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eventually import LIMIT, eventually
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Playwright, expect
from stack import INNER_PORT, REPOSITORY, Stack

CLIENTS_IMAGE = "wss-clients"
NAME = "wss.example"
DEVTOOLS = 9223
# Docker networks come and go while Chromium loads a page, and it cancels the request then.
NETWORK_CHANGED = "net::ERR_NETWORK_CHANGED"

expect.set_options(timeout=LIMIT * 1000)


def build_clients() -> None:
    """Build the image with Chromium, Node and curl, which later runs use again."""
    directory = REPOSITORY / "tests" / "harness" / "clients"
    subprocess.run(["docker", "build", "--quiet", "--tag", CLIENTS_IMAGE, directory], check=True)


@contextmanager
def chromium(playwright: Playwright, stack: Stack, ca: Path | None) -> Iterator[Browser]:
    """A Chromium that trusts this CA beside those that everybody knows, and reaches the stack as wss.example."""
    container = stack.start_beside(CLIENTS_IMAGE, {"/ca.pem": ca} if ca else {})
    try:
        address = container.attrs["NetworkSettings"]["Networks"][f"{stack.project}_edge"]["IPAddress"]

        def connect() -> Browser | None:
            try:
                return playwright.chromium.connect_over_cdp(f"http://{address}:{DEVTOOLS}")
            except Error as error:
                if not re.search("ECONNREFUSED|ECONNRESET", str(error)):
                    raise
                return None

        browser = eventually(connect, "Chromium answers")
        try:
            yield browser
        finally:
            browser.close()
    finally:
        container.remove(force=True, v=True)


def url_of(stack: Stack, scheme: str = "https") -> str:
    """Return the address of the page, or with `wss` of the websocket, as a client in a container knows it."""
    port = INNER_PORT[stack.profile]
    authority = NAME if port == 443 else f"{NAME}:{port}"
    return f"{scheme}://{authority}/" if scheme == "https" else f"{scheme}://{authority}/wss"


def visit(page: Page, url: str) -> None:
    """Load the page."""

    def arrives() -> bool:
        try:
            page.goto(url, timeout=LIMIT * 1000)
        except Error as error:
            if NETWORK_CHANGED not in str(error):
                raise
            return False
        return True

    eventually(arrives, "no network changes while the page loads")


def complaints_of(page: Page) -> list[str]:
    """Return the list that gets the console's errors and warnings from now on."""
    said: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            said.append(message.text)

    page.on("console", listen)
    page.on("pageerror", lambda error: said.append(str(error)))
    return said
