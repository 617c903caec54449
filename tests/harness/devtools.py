"""A page of Chromium without Playwright, which keeps pages from freezing and ignores the back-forward cache."""

import json
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import websocket
from browser import DEVTOOLS
from client import TIMEOUT
from eventually import eventually


class DevtoolsPage:
    """A tab, over https://chromedevtools.github.io/devtools-protocol/."""

    def __init__(self, address: str, url: str) -> None:
        connection = HTTPConnection(address, DEVTOOLS, timeout=TIMEOUT)
        with closing(connection):
            connection.request("PUT", "/json/new?about:blank")
            tab = json.load(connection.getresponse())["id"]
        debugger = f"ws://{address}:{DEVTOOLS}/devtools/page/{tab}"
        self._ws = websocket.create_connection(debugger, timeout=TIMEOUT, suppress_origin=True)
        self._calls = 0
        self.visit(url)

    def visit(self, url: str) -> None:
        """Load a page; wait until it has loaded."""
        self._call("Page.navigate", url=url)
        loaded = f"location.href === '{url}' && document.readyState === 'complete'"
        eventually(lambda: self.evaluate(loaded), f"{url} has loaded")

    def evaluate(self, expression: str, argument: Any = None) -> Any:
        """Return the value of an expression, or of the function that it is, like a page of Playwright."""
        code = f"(value => typeof value === 'function' ? value({json.dumps(argument)}) : value)({expression})"
        returned = self._call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in returned, returned
        return returned["result"].get("value")

    def set_state(self, state: str) -> None:
        """Make it `frozen`, or `active` again."""
        self._call("Page.setWebLifecycleState", state=state)

    def close(self) -> None:
        self._ws.shutdown()  # type: ignore[no-untyped-call]

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._calls += 1
        self._ws.send(json.dumps({"id": self._calls, "method": method, "params": parameters}))
        while (answer := json.loads(self._ws.recv())).get("id") != self._calls:
            pass  # an event
        assert "result" in answer, answer
        result: dict[str, Any] = answer["result"]
        return result
