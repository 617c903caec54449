"""Visit the page in Firefox or WebKit: send "tom", and once more after the WebSocket was lost and is open again.

Prints a line for each step; exits with 1 and the browser's error if it refuses the page.
"""

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.webkitgtk.options import Options
from selenium.webdriver.webkitgtk.service import Service
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

DEVTOOLS = 9222
LIMIT = 180.0  # seconds: for what hangs, not for what is slow
PAUSE = 0.1  # seconds

STATE = "document.querySelector('#state').dataset.state"
REPLIES = "[...document.querySelectorAll('#log [data-direction=received]')].map(entry => entry.textContent)"
CLICK = "document.querySelector('#send-tom').click()"


class RefusedError(Exception):
    """The browser does not load the page."""


class Browser(Protocol):
    """What both browsers can do."""

    def load(self, url: str) -> None:
        """Load the page; raises RefusedError."""

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""


class Firefox:
    """Firefox, controlled by WebDriver BiDi: https://w3c.github.io/webdriver-bidi/."""

    def __init__(self) -> None:
        command = ["firefox-esr", "--headless", "--no-remote", "--remote-debugging-port", str(DEVTOOLS), "about:blank"]
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._session = eventually(self._connect, "Firefox accepts a session")
        self._ids = itertools.count()
        capabilities = self._call("session.new", capabilities={})["capabilities"]
        print("version", capabilities["browserName"], capabilities["browserVersion"])
        self._context = self._call("browsingContext.getTree")["contexts"][0]["context"]

    def _connect(self) -> Any:
        try:
            return connect(f"ws://127.0.0.1:{DEVTOOLS}/session", max_size=None, open_timeout=LIMIT)
        except (OSError, WebSocketException):
            return None

    def _call(self, method: str, **parameters: Any) -> Any:
        number = next(self._ids)
        self._session.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := json.loads(self._session.recv(timeout=LIMIT))).get("id") != number:
            pass
        if "error" in answer:
            raise RefusedError(answer["message"])
        return answer["result"]

    def load(self, url: str) -> None:
        self._call("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def evaluate(self, expression: str) -> Any:
        target = {"context": self._context}
        expression = f"JSON.stringify({expression})"
        result = self._call("script.evaluate", target=target, expression=expression, awaitPromise=False)
        return json.loads(result["result"].get("value", "null"))


class WebKit:
    """WebKitGTK's MiniBrowser, controlled by its WebDriver."""

    def __init__(self) -> None:
        self._driver = webdriver.WebKitGTK(options=Options(), service=Service("/usr/bin/WebKitWebDriver"))
        capabilities = self._driver.capabilities
        print("version", capabilities["browserName"], capabilities["browserVersion"])

    def load(self, url: str) -> None:
        try:
            self._driver.get(url)
        except WebDriverException as error:
            raise RefusedError(error.msg) from error
        # The driver reports no error for a certificate that WebKit refuses: it shows about:blank, or a page of its own
        # under the same URL.
        shown = self._driver.current_url
        if not (shown.startswith(url) and self.evaluate("document.querySelector('#state') !== null")):
            raise RefusedError(f"{shown} is not the page")

    def evaluate(self, expression: str) -> Any:
        return self._driver.execute_script(f"return {expression}")


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Return the first true result; ends the program if there is none in time."""
    deadline = time.monotonic() + LIMIT
    while not (result := condition()):
        if time.monotonic() > deadline:
            sys.exit(f"not within {LIMIT:g} s: {what}")
        time.sleep(PAUSE)  # the condition above decides
    return result


def send_tom(browser: Browser, replies: int) -> None:
    """Click on the button, and wait until the page shows this number of replies."""
    eventually(lambda: browser.evaluate(STATE) == "open", "the websocket is open")
    browser.evaluate(CLICK)
    received = eventually(lambda: (shown := browser.evaluate(REPLIES))[replies - 1 :] and shown, "a reply")
    print("reply", received[-1])


def main(name: str, url: str) -> None:
    """Visit the page."""
    browser: Browser = Firefox() if name == "firefox" else WebKit()
    try:
        browser.load(url)
    except RefusedError as error:
        sys.exit(f"refused: {error}")
    send_tom(browser, 1)
    eventually(lambda: browser.evaluate(STATE) != "open", "the websocket is lost")
    print("lost")
    send_tom(browser, 2)


if __name__ == "__main__":
    main(*sys.argv[1:])
