"""Rooms across workers and replicas: every message reaches the members only, even if replicas or the hub fail."""

import json
import re
import string
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from client import http_request, target_of
from docker.models.containers import Container
from eventually import eventually
from fixtures import NewStack
from room_traffic import RoomClient, RoomTraffic, Tally
from stack import PROBE, Stack, read_in
from time_limit import slowness

pytestmark = pytest.mark.long

ROOMS = [f"room {number}" for number in range(6)]
ROUNDS = 5
# Every printable character of ASCII, and others.
PASSWORD = f" {string.printable.strip()} é ☃ "
PING = """
import asyncio, sys
from wss.config.settings import read_settings
from wss.rooms.hub_client import open_client

async def main(url):
    async with open_client(read_settings({"HUB": url, "HUB_PASSWORD_FILE": "/password"})) as client:
        print(await client.ping())

asyncio.run(main(sys.argv[1]))
"""
READ_METRICS = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8283/metrics').read().decode())"


def _events(stack: Stack, event: str) -> list[dict[str, Any]]:
    lines = re.findall(r"^\{.*\}$", stack.logs(stack.server), re.MULTILINE)
    return [line for line in map(json.loads, lines) if line["event"].startswith(event)]


def _subscriptions(stack: Stack) -> dict[str, int]:
    """Return the number of workers that are subscribed to each room, from Valkey."""
    valkey_cli = 'export REDISCLI_AUTH=$(cat "$HUB_PASSWORD_FILE"); valkey-cli "$@"'
    rooms = stack.read_in("hub", "sh", "-c", valkey_cli, "-", "pubsub", "channels", "room:*").split()
    counted = stack.read_in("hub", "sh", "-c", valkey_cli, "-", "pubsub", "numsub", *rooms).split()
    return {room: int(number) for room, number in zip(counted[::2], counted[1::2], strict=True)}


def _time(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


def _clients_on(replica: Container) -> int:
    metrics = read_in(replica, "python", "-c", READ_METRICS)
    (clients,) = re.findall(r"^wss_connections_open (.*)$", metrics, re.MULTILINE)
    return int(float(clients))


def _is_complete(tally: Tally) -> bool:
    print(tally)
    assert (tally.duplicates, tally.out_of_order, tally.lost_at) == (0, 0, ())
    return tally.received == tally.expected > tally.sent > 0


@pytest.mark.profiles("nginx", "apache")
def test_messages_reach_all_members_and_no_other_client(profile: str, new_stack: NewStack, ca_file: Path) -> None:
    stack = new_stack(profile, files=PROBE, APP="apps.rooms_rpc:handler", WORKERS="2", HUB="valkey://hub")
    stack.up("--scale=backend=3")
    target = target_of(stack, ca_file)

    def scale(replicas: int) -> None:
        outcome = stack.start("--wait", "--no-recreate", f"--scale=backend={replicas}")
        assert outcome.code == 0, outcome.output

    with RoomTraffic(target, ROOMS, each=10) as traffic:
        assert _is_complete(traffic.during(lambda: None, ROUNDS))

        # Another replica starts and gets clients.
        three = stack.containers("backend")
        assert _is_complete(traffic.during(lambda: scale(4), ROUNDS))
        (fourth,) = (replica for replica in stack.containers("backend") if replica not in three)
        while not _clients_on(fourth):  # nginx selects at random
            traffic.add_clients(ROOMS, each=1)
            assert len(traffic.open) < 120
        assert _is_complete(traffic.during(lambda: None, ROUNDS))

        # A message from outside, given to one replica, reaches the clients of all.
        assert read_in(three[0], "push", "--all", "outside 7") == "received by 8 workers\n"  # two in each replica
        eventually(
            lambda: all(client.received.get("outside") == [7] for client in traffic.open), "all receive the message"
        )

        # A close from outside, and one by a handler, reach the clients of all within a second.
        traffic.add_clients(["kicked", "removed"], each=12)
        kicked, removed = ([one for one in traffic.open if one.room == room] for room in ("kicked", "removed"))

        def seconds_to_close(clients: list[RoomClient], close: Callable[[], object]) -> float:
            began = time.time()
            close()
            eventually(lambda: all(client.closed_at for client in clients), "all are closed")
            assert {client.close_code for client in clients} == {4403}
            return max(client.closed_at for client in clients) - began

        slow = slowness()
        by_handler = seconds_to_close(removed, lambda: traffic.open[0].call("close", {"room": "removed"}))
        by_command = seconds_to_close(kicked, lambda: read_in(three[0], "close", "--room", "kicked"))
        print(f"closed after {by_handler:.3f} s by a handler, {by_command:.3f} s by the command")
        assert by_handler < max(slow, slowness())
        assert all(client.close_code is None for client in traffic.clients if client.room in ROOMS)

        # A replica is killed. Clients of other replicas lose no message, and its clients are no longer counted.
        before = len(traffic.open)
        assert _is_complete(traffic.during(fourth.kill, ROUNDS))
        # A worker may outlive its parent by a moment, and close with 1001.
        assert {client.close_code for client in traffic.clients if client.room in ROOMS} <= {None, 1001, 1006}
        assert 0 < len(traffic.open) < before
        one = traffic.open[0]
        eventually(lambda: one.call("count") == len(traffic.open), "clients of the killed replica are not counted")
        assert one.call("count", one.room) == sum(client.room == one.room for client in traffic.open)

        # The hub restarts. The lost messages are those that were sent during the outage, according to the logs.
        def restart() -> None:
            stack.container("hub").restart(timeout=1)
            eventually(lambda: len(_events(stack, "connected")) == 2 * 4 + 6, "all workers are connected again")

        tally = traffic.during(restart, ROUNDS)
        print(tally)
        assert (tally.duplicates, tally.out_of_order) == (0, 0)
        began = min(_time(event) for event in _events(stack, "the hub is unreachable"))
        ended = max(_time(event) for event in _events(stack, "connected"))
        earliest = began - slowness()
        assert not [time - began for time in tally.lost_at if not earliest < time < ended], ended - began
        assert tally.received + len(tally.lost_at) == tally.expected
        # The results that senders got and the log have the same number of lost messages.
        failed = sum(result is False for client in traffic.open for result in client.results["send"])
        assert failed == sum(event["lost"] for event in _events(stack, "connected")) > 0

        assert _is_complete(traffic.during(lambda: None, ROUNDS))


def test_without_the_hub_local_clients_reach_each_other_and_health_is_degraded(
    profile: str, new_stack: NewStack, ca_file: Path
) -> None:
    stack = new_stack(profile, files=PROBE, APP="apps.rooms_rpc:handler", HUB="valkey://hub")
    stack.up()
    target = target_of(stack, ca_file)
    with RoomTraffic(target, ["tea"], each=2) as traffic:
        one, two = traffic.clients
        one.call("bind", "ann")
        assert two.call("is_online", "ann") is True
        # A worker subscribes once to each room that has members, and not to empty rooms.
        assert _subscriptions(stack) == {"room:tea": 1}
        two.call("join", "coffee")
        assert _subscriptions(stack) == {"room:tea": 1, "room:coffee": 1}
        two.call("leave", "coffee")
        eventually(lambda: _subscriptions(stack) == {"room:tea": 1}, "the subscription to the empty room ends")
        stack.container("hub").stop(timeout=1)
        eventually(
            lambda: "hub is unreachable" in stack.read_in(stack.server, "healthy"), "the health check reports it"
        )
        assert two.call("send", "tea", "two 0") is False
        eventually(lambda: one.received.get("two") == [0], "client one receives the message")
        assert one.call("count", "tea") == 2
        assert two.call("is_online", "ann") is True
        assert "degraded" in stack.read_in(stack.server, "status")
        metrics = stack.read_in(stack.server, "python", "-c", READ_METRICS)
        assert "wss_hub_up 0.0" in metrics
        assert "wss_hub_messages_lost_total 1.0" in metrics
        assert len(_events(stack, "the hub is unreachable")) == 1
        new = RoomClient(target, "new", "tea")
        traffic.clients.append(new)
        assert new.call("count", "tea") == 3
        stack.container("hub").start()
        eventually(lambda: new.call("send", "tea", "new 0"), "the hub is connected again")
    assert stack.container(stack.server).attrs["State"]["Health"]["Status"] == "healthy"


@pytest.mark.profiles("nginx")
def test_rooms_of_several_processes_need_a_hub(profile: str, new_stack: NewStack) -> None:
    stack = new_stack(profile, overlays=(), APP="apps.rooms:handler", WORKERS="2")
    outcome = stack.start("--wait")
    assert outcome.code != 0
    stack.wait_for_log("check", "error: WORKERS=2: the handler uses wss.rooms")


@pytest.mark.profiles("nginx")
def test_rooms_of_several_replicas_need_a_hub(profile: str, new_stack: NewStack, ca_file: Path) -> None:
    stack = new_stack(profile, APP="apps.rooms:handler")
    stack.up()
    outcome = stack.start("--wait", "--no-recreate", "--scale=backend=2")
    assert outcome.code != 0
    stack.wait_for_log("backend", "error: 2 replicas: the handler uses wss.rooms")
    # The first replica still serves.
    assert http_request(target_of(stack, ca_file), "/wss").status == 426


@pytest.mark.profiles("nginx")
def test_the_hub_requires_its_password(profile: str, new_stack: NewStack) -> None:
    stack = new_stack(profile, APP="apps.rooms:handler", HUB="valkey://:wrong@hub")
    outcome = stack.start("--wait")
    assert outcome.code != 0
    stack.wait_for_log("backend", "error: HUB='valkey://…@hub:6379': the hub rejects the connection")
    hub = stack.container("hub")
    assert stack.read_in("hub", "valkey-cli", "ping").startswith("NOAUTH")
    assert stack.read_in("hub", "id", "-u") == "10001\n"
    assert not hub.ports.get("6379/tcp")
    networks = list(hub.attrs["NetworkSettings"]["Networks"])
    assert networks == [f"{stack.project}_inner"]
    assert stack.engine.networks.get(networks[0]).attrs["Internal"] is True


@pytest.mark.profiles("nginx")
def test_hub_and_client_agree_about_any_password(profile: str, new_stack: NewStack, tmp_path: Path) -> None:
    stack = new_stack(profile, HUB="valkey://hub")
    stack.build()
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\r\n")
    file.chmod(0o644)
    mounted: dict[str, Any] = {"volumes": {str(file): {"bind": "/password", "mode": "ro"}}}
    hub = stack.engine.containers.run(
        stack.image("hub"), detach=True, environment={"HUB_PASSWORD_FILE": "/password"}, **mounted, **stack.beside
    )
    try:
        eventually(lambda: hub.exec_run(["healthy"]).exit_code == 0, "the hub is healthy")
        for url in ("valkey://127.0.0.1", f"redis://:{quote(PASSWORD.strip(), safe='')}@127.0.0.1:6379/0"):
            output = stack.engine.containers.run(
                stack.image("backend"),
                ["python", "-c", PING, url],
                remove=True,
                network_mode=f"container:{hub.id}",
                **mounted,
                **stack.beside,
            )
            assert output == b"True\n"
        assert "requirepass" not in hub.logs().decode()
    finally:
        hub.remove(force=True)
