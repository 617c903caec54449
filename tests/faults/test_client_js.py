"""site/client.js in Chromium: whatever happens to its line, it comes back, and misses nothing or is told of a gap.

One profile is enough: what each profile promises to clients is in the other files.
"""

import json
import random
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from browser import NAME, chromium, url_of, visit
from client_page import ClientPage
from docker.models.containers import Container
from eventually import eventually
from fixtures import NewStack
from playwright.sync_api import Browser, Playwright
from stack import REPOSITORY, Stack

pytestmark = [pytest.mark.long, pytest.mark.profiles("nginx")]

CLOSED = 3  # WebSocket.CLOSED
PUSH = """
import sys
from urllib.request import Request, urlopen
from urllib.parse import quote
room, first, last = sys.argv[1:]
for number in range(int(first), int(last)):
    urlopen(Request(f"http://127.0.0.1:8283/push?room={quote(room)}", data=str(number).encode())).read()
"""


@pytest.fixture(scope="module")
def shared(profile: str, new_shared_stack: NewStack) -> Stack:
    # Positions survive a restart of the backend in the hub.
    settings = {"APP": "apps.chat:handler", "HUB": "valkey://hub", "HISTORY": "short*=3,1h,1M"}
    stack = new_shared_stack(profile, DOMAIN=NAME, **settings)
    stack.up()
    return stack


@pytest.fixture(scope="module")
def browser(playwright: Playwright, clients: str, shared: Stack, ca_file: Path) -> Iterator[Browser]:
    assert clients
    with chromium(playwright, shared, ca_file) as browser:
        yield browser


_ROOMS = count(1)
Enter = Callable[..., ClientPage]


@pytest.fixture
def enter(browser: Browser, shared: Stack) -> Iterator[Enter]:
    """Return a function that opens a page whose client enters a room of this test."""
    context = browser.new_context()

    def enter(kind: str = "room", **options: Any) -> ClientPage:
        page = context.new_page()
        visit(page, f"{url_of(shared)}chat.html")
        return ClientPage(page, "ann", f"{kind} {next(_ROOMS)}", **options)

    yield enter
    context.close()


def _push(stack: Stack, room: str, numbers: range) -> None:
    """Send these numbers to the room, as messages from outside."""
    stack.run_in(stack.server, "python", "-c", PUSH, room, str(numbers.start), str(numbers.stop))


def _wait_healthy(container: Container) -> None:
    def is_healthy() -> bool:
        container.reload()
        return bool(container.attrs["State"]["Health"]["Status"] == "healthy")

    eventually(is_healthy, f"{container.name} is healthy")


@contextmanager
def _paused(stack: Stack, client: ClientPage) -> Iterator[None]:
    """Let the proxy be silent, as behind a line that is cut: TCP accepts, and nothing comes back."""
    proxy = stack.container()
    proxy.pause()
    try:
        client.wait_for("close", code=1006)
        yield
    finally:
        proxy.unpause()


@contextmanager
def _killed_proxy(stack: Stack, client: ClientPage) -> Iterator[None]:
    proxy = stack.container()
    proxy.kill()
    client.wait_for("close", code=1006)
    yield
    proxy.start()


@contextmanager
def _restarted_backend(stack: Stack, client: ClientPage) -> Iterator[None]:
    assert stack.compose("restart", "backend").code == 0
    _wait_healthy(stack.container("backend"))
    client.wait_for("close", code=1001)
    yield


@contextmanager
def _killed_backend(stack: Stack, client: ClientPage) -> Iterator[None]:
    backend = stack.container("backend")
    backend.kill()
    client.wait_for("close", code=1006)
    backend.start()
    _wait_healthy(backend)
    yield


@contextmanager
def _frozen_tab(_: Stack, client: ClientPage) -> Iterator[None]:
    devtools = client.page.context.new_cdp_session(client.page)
    devtools.send("Page.setWebLifecycleState", {"state": "frozen"})
    yield
    devtools.send("Page.setWebLifecycleState", {"state": "active"})


@contextmanager
def _frozen_tab_of_a_killed_proxy(stack: Stack, client: ClientPage) -> Iterator[None]:
    with _frozen_tab(stack, client):
        stack.container().kill()
        yield
        stack.container().start()


@contextmanager
def _offline(_: Stack, client: ClientPage) -> Iterator[None]:
    client.page.context.set_offline(True)
    eventually(lambda: not client.page.evaluate("navigator.onLine"), "the browser is offline")
    yield
    client.page.context.set_offline(False)


@contextmanager
def _back_forward_cache(_: Stack, client: ClientPage) -> Iterator[None]:
    """Dispatch the events of a page that leaves and comes back: DevTools keep Chromium from using its cache."""
    dispatch = "type => dispatchEvent(new PageTransitionEvent(type, { persisted: true }))"
    client.page.evaluate(dispatch, "pagehide")
    client.wait_for("close", code=1001, reason="page hidden")
    yield
    client.page.evaluate(dispatch, "pageshow")


FAULTS: list[Callable[[Stack, ClientPage], AbstractContextManager[None]]] = [
    _restarted_backend,
    _killed_backend,
    _killed_proxy,
    _paused,
    _frozen_tab,
    _frozen_tab_of_a_killed_proxy,
    _offline,
    _back_forward_cache,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__.strip("_"))
def test_messages_that_were_missed_arrive_once_and_in_order(
    shared: Stack, enter: Enter, fault: Callable[[Stack, ClientPage], AbstractContextManager[None]]
) -> None:
    client = enter(connectTimeout=5_000)
    (room,) = client.rooms
    _push(shared, room, range(3))
    client.wait_for_number(2)
    with fault(shared, client):
        _push(shared, room, range(3, 20))
    client.wait_for_number(19)
    _push(shared, room, range(20, 23))
    assert client.wait_for_number(22) == list(range(23))
    assert client.events("gap") == []


def test_messages_that_the_room_does_not_keep_any_more_are_a_gap(shared: Stack, enter: Enter) -> None:
    client = enter("short")
    (room,) = client.rooms
    _push(shared, room, range(2))
    client.wait_for_number(1)
    with _paused(shared, client):
        _push(shared, room, range(2, 10))
    assert client.wait_for_number(9) == [0, 1, 7, 8, 9]
    (gap,) = client.events("gap")
    assert (gap["room"], gap["gap"]) == (room, "trimmed")
    assert gap["since"] != gap["position"]


def test_a_message_that_comes_twice_is_dropped(shared: Stack, enter: Enter) -> None:
    client = enter()
    (room,) = client.rooms
    position = client.call("position", room)
    _push(shared, room, range(5))
    client.wait_for_number(4)
    # The server sends all of them again.
    client.call("send", json.dumps({"type": "enter", "room": room, "name": "ann", "since": position}))
    client.wait_for("message", 2, data="members")
    _push(shared, room, range(5, 6))
    assert client.wait_for_number(5) == list(range(6))
    assert client.events("gap") == []


def test_what_is_sent_while_away_is_queued_up_to_a_limit_and_the_rest_is_reported(shared: Stack, enter: Enter) -> None:
    client = enter(maxQueued=3)
    (room,) = client.rooms
    says = [json.dumps({"type": "say", "room": room, "text": f"text {number}"}) for number in range(5)]
    with _paused(shared, client):
        assert [client.call("send", say) for say in says] == [True, True, True, False, False]
    assert [event["data"] for event in client.events("drop")] == says[3:]
    said = client.wait_for("message", 3, data='"said"')
    assert [json.loads(event["data"])["text"] for event in said] == ["text 0", "text 1", "text 2"]


def test_a_close_code_that_reports_a_refusal_is_final_until_the_page_connects_again(
    shared: Stack, enter: Enter
) -> None:
    client = enter()
    (room,) = client.rooms
    client.page.evaluate("socket.addEventListener('close', () => socket.send('too late'))")
    shared.run_in("backend", "close", "--room", room, "--code", "4403", "--reason", "no longer a member")
    (close,) = client.wait_for("close")
    assert (close["code"], close["reason"], close["willRetry"]) == (4403, "no longer a member", False)
    assert [event["data"] for event in client.events("drop")] == ["too late"]
    assert (client.ready_state, client.events("retry")) == (CLOSED, [])
    _push(shared, room, range(3))
    client.call("reconnect")
    assert client.wait_for_number(2) == [0, 1, 2]
    client.call("close")
    assert client.wait_for("close", 2)[-1]["code"] == 1000
    assert client.ready_state == CLOSED


def test_codes_are_retried_as_the_documentation_lists_them(enter: Enter) -> None:
    page = (REPOSITORY / "docs" / "client.md").read_text()
    rows = re.findall(r"^\| ([\d, ]+) \| .* \| (yes|no)\b.*\|$", page, re.MULTILINE)
    documented = {int(code): answer == "yes" for codes, answer in rows for code in codes.split(", ")}
    assert {1000, 1001, 1006, 1008, 1011, 1013, 4401, 4403} <= documented.keys()
    script = """async codes => {
        const { DEFAULTS } = await import(`${location.origin}/client.js`)
        return codes.map(DEFAULTS.isRetried)
    }"""
    codes = [*documented, 1005, 1010, 1015, 3000, 4000]
    retried = dict(zip(codes, enter().page.evaluate(script, codes), strict=True))
    assert retried == {code: documented.get(code, False) for code in codes}


def test_the_delay_is_random_within_a_window_that_doubles_up_to_its_maximum(enter: Enter) -> None:
    script = """async cases => {
        const { retryDelay } = await import(`${location.origin}/client.js`)
        return cases.map(([code, failures]) => Array.from({ length: 1000 }, () => retryDelay(code, failures)))
    }"""
    windows = {(1006, 0): 1, (1012, 1): 2, (1001, 4): 16, (1006, 5): 30, (1006, 5000): 30, (1013, 0): 8, (1011, 1): 16}
    delays = enter().page.evaluate(script, [list(case) for case in windows])
    for window, sample in zip(windows.values(), delays, strict=True):
        assert 0 <= min(sample) < window * 100
        assert window * 900 < max(sample) < window * 1000


SPREAD = """
import { ReconnectingWebSocket } from "/client.mjs";
const [url, number, firstDelay] = [process.argv[2], +process.argv[3], +process.argv[4]];
const clients = Array.from({ length: number }, () => {
  const client = { delays: [] };
  const socket = new ReconnectingWebSocket(url, [], { firstDelay, connectTimeout: 600_000 });
  socket.join("many", { type: "enter", name: "ann" });
  client.joined = new Promise(resolve => socket.addEventListener("message", ({ data }) => {
    if (data.includes("members")) resolve();
  }));
  client.back = new Promise(resolve => {
    socket.addEventListener("retry", ({ delay }) => {
      client.delays.push(delay);
      client.cut = performance.now();
      socket.addEventListener("open", () => resolve(client.took = performance.now() - client.cut), { once: true });
    });
  });
  return client;
});
await Promise.all(clients.map(client => client.joined));
console.log("all have joined");
await Promise.all(clients.map(client => client.back));
console.log(JSON.stringify(clients.map(({ delays, took }) => ({ delays, took }))));
process.exit(0);
"""


def test_500_clients_come_back_over_the_window_and_not_in_one_instant(
    shared: Stack, clients: str, ca_file: Path, tmp_path: Path
) -> None:
    number, window = 500, 4_000
    script = tmp_path / "spread.mjs"
    script.write_text(SPREAD)
    files = {"/ca.pem": ca_file, "/client.mjs": REPOSITORY / "site" / "client.js", "/spread.mjs": script}
    command = ["node", "--experimental-websocket", "/spread.mjs", url_of(shared, "wss"), str(number), str(window)]
    container = shared.start_beside(clients, files, command=command, environment={"NODE_EXTRA_CA_CERTS": "/ca.pem"})
    try:
        eventually(lambda: "all have joined" in container.logs().decode(), "all clients have joined")
        shared.run_in("backend", "close", "--room", "many", "--code", "1012")
        assert container.wait()["StatusCode"] == 0, container.logs().decode()
        back = json.loads(re.findall(r"^\[.*\]$", container.logs().decode(), re.MULTILINE)[0])
    finally:
        container.remove(force=True, v=True)
    assert len(back) == number
    # None comes before its time. The first delays fill the window evenly: a tenth has 50 of 500, give or take 7.
    assert all(client["took"] > client["delays"][0] - 2 for client in back)
    tenths = [sum(client["delays"][0] * 10 // window == tenth for client in back) for tenth in range(10)]
    assert all(15 < clients_in_tenth < 85 for clients_in_tenth in tenths), tenths
    took = sorted(client["took"] for client in back)
    print(f"back after {took[0]:.0f} to {took[-1]:.0f} ms, median {took[number // 2]:.0f}; delays per tenth: {tenths}")


def test_a_hub_that_has_lost_its_data_is_a_gap(shared: Stack, enter: Enter) -> None:
    client = enter()
    (room,) = client.rooms
    _push(shared, room, range(random.randrange(1, 5)))  # noqa: S311
    assert shared.compose("restart", "hub").code == 0
    gap = client.wait_for("gap")[0]
    assert (gap["room"], gap["gap"]) == (room, "epoch")
    numbers = len(client.numbers())
    eventually(lambda: _push(shared, room, range(100, 101)) is None, "the hub is reachable")
    client.wait_for_number(100)
    assert len(client.numbers()) == numbers + 1
