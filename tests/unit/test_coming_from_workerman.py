"""docs/zh/coming-from-workerman.md translates no page: its handlers run, and its calls are those of docs/rooms.md."""

import re
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from server import REPOSITORY
from wss.application import Application
from wss.testing import serve

DOCS = REPOSITORY / "docs"
PAGE = DOCS / "zh" / "coming-from-workerman.md"
Load = Callable[[str], Application]


@pytest.fixture
def application(tmp_path: Path) -> Load:
    """Return a function that loads the handler on the page whose first line has this name."""

    def load(name: str) -> Application:
        pattern = rf"^```python\n(# handlers/{name}\.py\n.*?)^```"
        (code,) = re.findall(pattern, PAGE.read_text(), re.MULTILINE | re.DOTALL)
        file = tmp_path / f"{name}.py"
        file.write_text(code)
        return Application(runpy.run_path(str(file))["handler"], None, None)

    return load


def pairs(text: str, ours: int, gatewayworkers: int) -> list[tuple[str, list[str]]]:
    """Return our calls and those of GatewayWorker in each row of a table, without marks and other words."""
    rows = [row.split("|") for row in text.splitlines() if row.startswith("| ")]
    calls = [
        (re.findall(r"`([a-z_]+\(.*?\))`", row[ours]), re.findall(r"\b[a-z]+[A-Z]\w+", row[gatewayworkers]))
        for row in rows
    ]
    return sorted((", ".join(call), names) for call, names in calls if call and names)


def test_the_handler_of_the_manuals_example_replies_ok(application: Load) -> None:
    with serve(application("tom")) as server, server.connect() as client:
        client.send("tom")
        assert client.recv(timeout=60) == "ok"


def test_the_handler_with_a_group_sends_to_all_of_it(application: Load) -> None:
    with serve(application("group")) as server, server.connect() as ann, server.connect() as bob:
        for client, uid in ((ann, "ann"), (bob, "bob")):
            client.send(uid)
        # Both are in the room when each has received a message of its own.
        for client in (ann, bob):
            client.send("here")
            while client.recv(timeout=60) != "here":
                pass
        ann.send("hello")
        for client in (ann, bob):
            while client.recv(timeout=60) != "hello":
                pass


def test_the_calls_of_gatewayworker_are_those_of_the_page_on_rooms() -> None:
    expected = pairs((DOCS / "rooms.md").read_text(), ours=1, gatewayworkers=2)
    assert len(expected) > 5
    section = PAGE.read_text().partition("\n## GatewayWorker\n")[2].partition("\n## ")[0]
    assert pairs(section, ours=2, gatewayworkers=1) == expected
