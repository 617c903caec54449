"""What can happen between a client and its server: contexts in which the client is away."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from client_page import ClientPage
from docker.models.containers import Container
from eventually import eventually
from playwright.sync_api import Page
from stack import Stack, pause

PUSH = """
import sys
from urllib.request import Request, urlopen
from urllib.parse import quote
room, first, last = sys.argv[1:]
for number in range(int(first), int(last)):
    urlopen(Request(f"http://127.0.0.1:8283/push?room={quote(room)}", data=str(number).encode())).read()
"""


def push(stack: Stack, room: str, numbers: range) -> None:
    """Send these numbers to the room, as messages from outside."""
    stack.run_in(stack.server, "python", "-c", PUSH, room, str(numbers.start), str(numbers.stop))


def wait_healthy(container: Container) -> None:
    def is_healthy() -> bool:
        container.reload()
        return bool(container.attrs["State"]["Health"]["Status"] == "healthy")

    eventually(is_healthy, f"{container.name} is healthy")


def next_close(client: ClientPage, code: int = 1006) -> Callable[[], object]:
    """Return a function that waits for a close after now: on a busy machine, an earlier connection may have ended."""
    before = len(client.events("close", code=code))
    return lambda: client.wait_for("close", before + 1, code=code)


@contextmanager
def paused(stack: Stack, client: ClientPage) -> Iterator[None]:
    """Let the proxy be silent, as behind a line that is cut: TCP accepts, and nothing comes back."""
    proxy = stack.container()
    wait_for_close = next_close(client)
    pause(proxy)
    try:
        wait_for_close()
        yield
    finally:
        proxy.unpause()


@contextmanager
def killed_proxy(stack: Stack, client: ClientPage) -> Iterator[None]:
    wait_for_close = next_close(client)
    with dead_proxy(stack):
        wait_for_close()
        yield


@contextmanager
def dead_proxy(stack: Stack) -> Iterator[None]:
    proxy = stack.container()
    proxy.kill()
    try:
        yield
    finally:
        proxy.start()


@contextmanager
def restarted_backend(stack: Stack, client: ClientPage) -> Iterator[None]:
    wait_for_close = next_close(client, 1001)
    assert stack.compose("restart", "backend").code == 0
    wait_healthy(stack.container("backend"))
    wait_for_close()
    yield


@contextmanager
def killed_backend(stack: Stack, client: ClientPage) -> Iterator[None]:
    backend = stack.container("backend")
    wait_for_close = next_close(client)
    backend.kill()
    wait_for_close()
    backend.start()
    wait_healthy(backend)
    yield


@contextmanager
def offline(_: Stack, client: ClientPage) -> Iterator[None]:
    assert isinstance(client.page, Page)
    wait_for_close = next_close(client)
    client.page.context.set_offline(True)
    wait_for_close()
    yield
    client.page.context.set_offline(False)


Fault = Callable[[Stack, ClientPage], AbstractContextManager[None]]
FAULTS: list[Fault] = [
    restarted_backend,
    killed_backend,
    killed_proxy,
    paused,
    offline,
]
