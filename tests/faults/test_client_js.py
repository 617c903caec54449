"""site/client.js in Chromium: it reconnects after each kind of failure, and receives every message or a gap event.

One profile is enough: what each profile promises to clients is in the other files.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from browser import NAME, WHOLE_CHROMIUM, chromium, chromium_container, url_of, visit
from client_faults import FAULTS, Fault, dead_proxy, killed_proxy, next_close, paused, push
from client_page import ClientPage
from devtools import DevtoolsPage
from docker.models.containers import Container
from eventually import eventually
from fixtures import NewStack
from playwright.sync_api import Browser, Playwright
from stack import REPOSITORY, Stack

pytestmark = [pytest.mark.long, pytest.mark.profiles("nginx")]

CLOSED = 3  # WebSocket.CLOSED
# The clients that run in Node, by the name of the script that uses them.
CLIENTS = {"client": "site/client.js", "wechat": "examples/clients/wechat.js"}


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
StartNode = Callable[..., Container]


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


@pytest.fixture
def tab(clients: str, shared: Stack, ca_file: Path) -> Iterator[DevtoolsPage]:
    """A tab that can be frozen, and can go into the back-forward cache, which the headless shell lacks."""
    assert clients
    with chromium_container(shared, ca_file, WHOLE_CHROMIUM) as address:
        tab = eventually(lambda: DevtoolsPage(address, f"{url_of(shared)}chat.html"), "Chromium has opened a tab")
        yield tab
        tab.close()


def _check_that_nothing_is_missed(stack: Stack, client: ClientPage, fault: Fault) -> None:
    (room,) = client.rooms
    push(stack, room, range(3))
    client.wait_for_number(2)
    with fault(stack, client):
        push(stack, room, range(3, 20))
    client.wait_for_number(19)
    push(stack, room, range(20, 23))
    assert client.wait_for_number(22) == list(range(23))
    assert client.events("gap") == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__.strip("_"))
def test_messages_that_were_missed_arrive_once_and_in_order(shared: Stack, enter: Enter, fault: Fault) -> None:
    _check_that_nothing_is_missed(shared, enter(connectTimeout=5_000), fault)


def test_a_frozen_tab_gets_what_it_has_missed_when_it_wakes(shared: Stack, tab: DevtoolsPage) -> None:
    client = ClientPage(tab, "ann", f"room {next(_ROOMS)}")
    tab.evaluate("window.ticks = 0, setInterval(() => { ticks++ }, 10)")

    @contextmanager
    def frozen(stack: Stack, client: ClientPage) -> Iterator[None]:
        tab.set_state("frozen")
        wait_for_close = next_close(client)
        with dead_proxy(stack):
            ticks, numbers = tab.evaluate("ticks"), client.numbers()
            yield
        assert (tab.evaluate("ticks"), client.numbers()) == (ticks, numbers)
        tab.set_state("active")
        wait_for_close()

    _check_that_nothing_is_missed(shared, client, frozen)


def test_a_page_from_the_back_forward_cache_gets_what_it_has_missed(shared: Stack, tab: DevtoolsPage) -> None:
    client = ClientPage(tab, "ann", f"room {next(_ROOMS)}")
    tab.evaluate("addEventListener('pageshow', ({ persisted }) => { window.isRestored = persisted })")

    @contextmanager
    def in_cache(stack: Stack, _: ClientPage) -> Iterator[None]:
        tab.visit(f"{url_of(stack)}index.html")
        yield
        tab.evaluate("history.back()")
        eventually(lambda: tab.evaluate("window.isRestored"), "the page comes back from the cache")

    _check_that_nothing_is_missed(shared, client, in_cache)
    assert client.events("close", code=1001, reason="page hidden")


def test_messages_that_the_room_does_not_keep_any_more_are_a_gap(shared: Stack, enter: Enter) -> None:
    client = enter("short")
    (room,) = client.rooms
    push(shared, room, range(2))
    client.wait_for_number(1)
    with paused(shared, client):
        push(shared, room, range(2, 10))
    assert client.wait_for_number(9) == [0, 1, 7, 8, 9]
    (gap,) = client.events("gap")
    assert (gap["room"], gap["gap"]) == (room, "trimmed")
    assert gap["since"] != gap["position"]


def test_a_message_that_comes_twice_is_dropped(shared: Stack, enter: Enter) -> None:
    client = enter()
    (room,) = client.rooms
    position = client.call("position", room)
    push(shared, room, range(5))
    client.wait_for_number(4)
    # The server sends all of them again.
    client.call("send", json.dumps({"type": "enter", "room": room, "name": "ann", "since": position}))
    client.wait_for("message", 2, data="members")
    push(shared, room, range(5, 6))
    assert client.wait_for_number(5) == list(range(6))
    assert client.events("gap") == []


def test_what_is_sent_while_away_is_queued_up_to_a_limit_and_the_rest_is_reported(shared: Stack, enter: Enter) -> None:
    client = enter(maxQueued=3)
    (room,) = client.rooms
    says = [json.dumps({"type": "say", "room": room, "text": f"text {number}"}) for number in range(5)]
    with paused(shared, client):
        assert [client.call("send", say) for say in says] == [True, True, True, False, False]
    assert [event["data"] for event in client.events("drop")] == says[3:]
    said = client.wait_for("message", 3, data='"said"')
    assert [json.loads(event["data"])["text"] for event in said] == ["text 0", "text 1", "text 2"]


def test_what_a_listener_of_open_sends_comes_before_the_rooms_the_queue_and_the_heartbeat(
    shared: Stack, enter: Enter
) -> None:
    client = enter()
    (room,) = client.rooms
    # The server answers in order.
    client.page.evaluate("socket.addEventListener('open', () => socket.send('first'))")
    with killed_proxy(shared, client):
        client.call("send", json.dumps({"type": "who", "room": room}))
        client.forget()
    client.wait_for("message", 2, data="members")
    answers = [json.loads(event["data"]) for event in client.events("message") if "room" not in event]
    assert [answer["type"] for answer in answers[:3]] == ["error", "members", "members"]


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
    push(shared, room, range(3))
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


@pytest.fixture
def start_node(shared: Stack, clients: str, ca_file: Path) -> Iterator[StartNode]:
    """Return a function that runs a script of tests/harness/node with a client in a container."""
    with ExitStack() as running:

        def start(script: str, client: str, *arguments: str) -> Container:
            script_file = REPOSITORY / "tests" / "harness" / "node" / f"{script}.mjs"
            files = {"/ca.pem": ca_file, "/client.mjs": REPOSITORY / client, "/script.mjs": script_file}
            command = ["node", "--experimental-websocket", "/script.mjs", url_of(shared, "wss"), *arguments]
            environment = {"NODE_EXTRA_CA_CERTS": "/ca.pem"}
            container = shared.start_beside(clients, files, command=command, environment=environment)
            running.callback(container.remove, force=True, v=True)
            return container

        yield start


def _wait_for_line(container: Container, text: str) -> list[str]:
    """Wait until the container has logged a line with this text; return all lines."""

    def lines() -> list[str] | None:
        lines = str(container.logs(stderr=False).decode()).splitlines()
        return lines if any(text in line for line in lines) else None

    return eventually(lines, f"the log has {text!r}")


@pytest.mark.parametrize("twin", CLIENTS)
def test_the_clients_for_node_and_wechat_miss_nothing_and_end_after_a_refusal(
    shared: Stack, start_node: StartNode, twin: str
) -> None:
    container = start_node(twin, CLIENTS[twin], twin)
    _wait_for_line(container, "members")
    push(shared, twin, range(3))
    _wait_for_line(container, "message 2")
    with dead_proxy(shared):
        _wait_for_line(container, "close 1006")
        push(shared, twin, range(3, 10))
    _wait_for_line(container, "message 9")
    shared.run_in("backend", "close", "--room", twin, "--reason", "no longer a member")
    lines = _wait_for_line(container, "close 4403 no longer a member false")
    assert [line for line in lines if re.match(r"message \d", line)] == [f"message {number}" for number in range(10)]
    assert not any(line.startswith("gap") for line in lines)
    assert container.wait()["StatusCode"] == 0


def test_a_wechat_client_that_was_suspended_comes_back(shared: Stack, start_node: StartNode) -> None:
    container = start_node("wechat", CLIENTS["wechat"], "suspended")
    _wait_for_line(container, "members")
    # What WeChat reports after it has closed a connection in the background.
    shared.run_in("backend", "close", "--room", "suspended", "--code", "1000", "--reason", "interrupted")
    _wait_for_line(container, "close 1006 interrupted true")
    push(shared, "suspended", range(1))
    _wait_for_line(container, "message 0")


def test_500_clients_come_back_over_the_window_and_not_in_one_instant(shared: Stack, start_node: StartNode) -> None:
    number, window = 500, 4_000
    container = start_node("spread", "site/client.js", str(number), str(window))
    _wait_for_line(container, "all have joined")
    shared.run_in("backend", "close", "--room", "many", "--code", "1012")
    back = json.loads(_wait_for_line(container, '"delay"')[-1])
    assert len(back) == number
    # None comes before its time. The first delays fill the window evenly: a tenth has 50 of 500, give or take 7.
    assert all(client["took"] > client["delay"] - 2 for client in back)
    tenths = [sum(client["delay"] * 10 // window == tenth for client in back) for tenth in range(10)]
    assert all(15 < clients_in_tenth < 85 for clients_in_tenth in tenths), tenths
    took = sorted(client["took"] for client in back)
    print(f"back after {took[0]:.0f} to {took[-1]:.0f} ms, median {took[number // 2]:.0f}; delays per tenth: {tenths}")


def test_a_hub_that_has_lost_its_data_is_a_gap(shared: Stack, enter: Enter) -> None:
    client = enter()
    (room,) = client.rooms
    push(shared, room, range(3))
    client.wait_for_number(2)
    assert shared.compose("restart", "hub").code == 0
    (gap,) = client.wait_for("gap")
    assert (gap["room"], gap["gap"]) == (room, "epoch")
    push(shared, room, range(3, 4))
    assert client.wait_for_number(3) == list(range(4))
