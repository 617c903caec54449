"""site/client.js in a page of Chromium, with a record of its events."""

import json
from typing import Any, Protocol

from eventually import eventually

HEARTBEAT = {"message": json.dumps({"type": "ping"}), "interval": 1_000, "timeout": 3_000}

_START = """async ([name, rooms, options]) => {
    const { ReconnectingWebSocket } = await import(`${location.origin}/client.js`)
    const socket = new ReconnectingWebSocket(`wss://${location.host}/wss`, [], options)
    const fields = ["data", "room", "position", "gap", "since", "code", "reason", "willRetry", "delay", "failures"]
    window.socket = socket
    window.events = []
    for (const type of ["open", "message", "gap", "close", "retry", "drop"]) {
        socket.addEventListener(type, event => events.push(
            { type, ...Object.fromEntries(fields.filter(field => field in event).map(field => [field, event[field]])) },
        ))
    }
    for (const room of rooms) socket.join(room, { type: "enter", name })
}"""


class Page(Protocol):
    """A page of Playwright, or a DevtoolsPage."""

    def evaluate(self, expression: str, arg: Any = None, /) -> Any: ...


class ClientPage:
    """A page whose client has entered rooms of apps/chat.py."""

    def __init__(self, page: Page, name: str, *rooms: str, **options: Any) -> None:
        self.page = page
        self.rooms = rooms
        page.evaluate(_START, [name, rooms, {"heartbeat": HEARTBEAT, **options}])
        self.wait_for("message", len(rooms), data="members")

    def events(self, kind: str, **fields: str | int) -> list[dict[str, Any]]:
        """Return the events of a type; `fields` are values, or parts of texts."""

        def has(event: dict[str, Any], name: str, value: str | int) -> bool:
            return value in event[name] if isinstance(value, str) else event.get(name) == value

        recorded: list[dict[str, Any]] = self.page.evaluate("window.events")
        return [
            event
            for event in recorded
            if event["type"] == kind and all(has(event, name, value) for name, value in fields.items())
        ]

    def wait_for(self, kind: str, number: int = 1, **fields: str | int) -> list[dict[str, Any]]:
        """Wait until so many of these events have come, and return them."""

        def found() -> list[dict[str, Any]] | None:
            events = self.events(kind, **fields)
            return events if len(events) >= number else None

        return eventually(found, f"{number} events {kind} {fields}: {self.page.evaluate('window.events')}")

    def numbers(self) -> list[int]:
        """Return the messages that are numbers, in the order in which they came."""
        return [int(event["data"]) for event in self.events("message") if str(event["data"]).isdigit()]

    def wait_for_number(self, number: int) -> list[int]:
        eventually(lambda: self.numbers()[-1:] == [number], f"message {number} comes: {self.numbers()}")
        return self.numbers()

    def forget(self) -> None:
        self.page.evaluate("window.events.length = 0")

    def call(self, call: str, *arguments: Any) -> Any:
        """Call a method of the client."""
        return self.page.evaluate(f"argument => window.socket.{call}(...argument)", list(arguments))

    @property
    def ready_state(self) -> int:
        return int(self.page.evaluate("window.socket.readyState"))
