"""Real clients in a container of their own, on the network that clients come by: Chromium above all."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eventually import eventually
from playwright.sync_api import Browser, Error, Playwright
from stack import REPOSITORY, Stack

IMAGE = "wss-clients"
NAME = "wss.example"
DEVTOOLS = 9223


def build() -> str:
    """Build the image with Chromium, Node and curl; return its name."""
    subprocess.run(
        ["docker", "build", "--quiet", "--tag", IMAGE, REPOSITORY / "tests" / "harness" / "clients"], check=True
    )
    return IMAGE


@contextmanager
def chromium(playwright: Playwright, stack: Stack, ca: Path | None) -> Iterator[Browser]:
    """A Chromium that trusts this CA beside those that everybody knows, and reaches the stack as wss.example."""
    container = stack.start_beside(IMAGE, {"/ca.pem": ca} if ca else {})
    try:
        address = container.attrs["NetworkSettings"]["Networks"][f"{stack.project}_edge"]["IPAddress"]

        def connect() -> Browser | None:
            try:
                return playwright.chromium.connect_over_cdp(f"http://{address}:{DEVTOOLS}")
            except Error as error:
                if not re.search("ECONNREFUSED|ECONNRESET", str(error)):
                    raise
                return None

        browser = eventually(connect, 30, "Chromium answers")
        try:
            yield browser
        finally:
            browser.close()
    finally:
        container.remove(force=True, v=True)
