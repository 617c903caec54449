"""Row 14 of the contract, and readiness: start and stop of the stack, as the engine and clients see them."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from client import Target
from closing import GOING_AWAY, close_code
from exits import Exits
from fixtures import Connect
from stack import Stack

CLIENTS = 5


def test_after_up_every_container_is_healthy(stack: Stack) -> None:
    for container in stack.containers():
        assert container.attrs["State"]["Health"]["Status"] == "healthy"


@pytest.mark.stops_the_stack
def test_stop_closes_every_client_with_1001_and_containers_exit_with_0(
    stack: Stack, target: Target, connect: Connect
) -> None:
    running = [container for container in stack.containers() if container.status == "running"]
    clients = [connect(target) for _ in range(CLIENTS)]
    with Exits(stack) as exits, ThreadPoolExecutor(CLIENTS) as pool:
        codes = [pool.submit(close_code, client) for client in clients]
        outcome = stack.compose("stop")
        assert outcome.code == 0, outcome.output
        assert [code.result() for code in codes] == [GOING_AWAY] * CLIENTS
        assert exits.failed(running) == {}
    stack.up()  # tests in other directories share it
