"""Rooms across workers and replicas: every message reaches exactly the members, whatever happens meanwhile."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from client import ask, target_of
from docker.models.containers import Container
from eventually import eventually
from fixtures import NewStack
from stack import PROBE, Stack, read_in
from talkers import Talk, Talker, Tally

ROOMS = [f"room {number}" for number in range(6)]
ROUNDS = 5
READ_METRICS = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8283/metrics').read().decode())"


def _events(stack: Stack, event: str) -> list[dict[str, Any]]:
    lines = re.findall(r"^\{.*\}$", stack.logs(stack.server), re.MULTILINE)
    return [line for line in map(json.loads, lines) if line["event"].startswith(event)]


def _subscriptions(stack: Stack) -> dict[str, int]:
    """Return how many workers are subscribed to each room, as Valkey says."""
    ask_valkey = 'export REDISCLI_AUTH=$(cat "$HUB_PASSWORD_FILE"); valkey-cli "$@"'
    rooms = stack.run_in("hub", "sh", "-c", ask_valkey, "-", "pubsub", "channels", "room:*").split()
    counted = stack.run_in("hub", "sh", "-c", ask_valkey, "-", "pubsub", "numsub", *rooms).split()
    return {room: int(number) for room, number in zip(counted[::2], counted[1::2], strict=True)}


def _time(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


def _clients_on(replica: Container) -> int:
    metrics = read_in(replica, "python", "-c", READ_METRICS)
    (clients,) = re.findall(r"^wss_connections_open (.*)$", metrics, re.MULTILINE)
    return int(float(clients))


def _is_whole(tally: Tally) -> bool:
    print(tally)
    assert (tally.doubled, tally.out_of_order, tally.lost_when) == (0, 0, ())
    return tally.received == tally.expected > tally.said > 0


@pytest.mark.profiles("nginx", "apache")
def test_messages_reach_exactly_the_members(profile: str, new_stack: NewStack, ca_file: Path) -> None:
    stack = new_stack(profile, files=PROBE, APP="apps.puppet:handler", WORKERS="2", HUB="valkey://hub")
    stack.up("--scale=backend=3")
    target = target_of(stack, ca_file)

    def scale(replicas: int) -> None:
        outcome = stack.start("--wait", "--no-recreate", f"--scale=backend={replicas}")
        assert outcome.code == 0, outcome.output

    with Talk(target, ROOMS, each=10) as talk:
        assert _is_whole(talk.during(lambda: None, ROUNDS))

        # One more replica, and clients on it.
        three = stack.containers("backend")
        assert _is_whole(talk.during(lambda: scale(4), ROUNDS))
        (fourth,) = (replica for replica in stack.containers("backend") if replica not in three)
        while not _clients_on(fourth):  # nginx chooses by chance
            talk.enter(ROOMS, each=1)
            assert len(talk.open) < 120
        assert _is_whole(talk.during(lambda: None, ROUNDS))

        # One less, without a word. Nobody else loses anything, and its clients count no more.
        before = len(talk.open)
        assert _is_whole(talk.during(fourth.kill, ROUNDS))
        # A worker may outlive its parent by a moment, and say 1001.
        assert {talker.code for talker in talk.talkers} <= {None, 1001, 1006}
        assert 0 < len(talk.open) < before
        one = talk.open[0]
        eventually(lambda: one.call("count") == len(talk.open), "the dead one's clients leave the counts")
        assert one.call("count", one.room) == sum(talker.room == one.room for talker in talk.open)

        # The hub is gone, and comes back. What is lost was said in the meantime, as the logs tell it.
        def restart() -> None:
            stack.container("hub").restart(timeout=1)
            eventually(lambda: len(_events(stack, "connected")) == 2 * 4 + 6, "all workers are connected again")

        tally = talk.during(restart, ROUNDS)
        print(tally)
        assert (tally.doubled, tally.out_of_order) == (0, 0)
        began = min(_time(event) for event in _events(stack, "the hub is away"))
        ended = max(_time(event) for event in _events(stack, "connected"))
        assert all(began - 1 < when < ended for when in tally.lost_when), (began, tally.lost_when, ended)
        assert tally.received + len(tally.lost_when) == tally.expected
        # The same number is told to whoever sent, and in the log.
        refused = sum(said is False for talker in talk.open for said in talker.returned["send"])
        assert refused == sum(event["lost"] for event in _events(stack, "connected")) > 0

        assert _is_whole(talk.during(lambda: None, ROUNDS))


def test_without_the_hub_local_clients_reach_each_other_and_the_health_says_so(
    profile: str, new_stack: NewStack, ca_file: Path
) -> None:
    stack = new_stack(profile, files=PROBE, APP="apps.puppet:handler", HUB="valkey://hub")
    stack.up()
    target = target_of(stack, ca_file)
    with Talk(target, ["tea"], each=2) as talk:
        one, two = talk.talkers
        one.call("bind", "ann")
        assert two.call("is_online", "ann") is True
        # One subscription for a room and worker, and none for an empty room.
        assert _subscriptions(stack) == {"room:tea": 1}
        two.call("join", "coffee")
        assert _subscriptions(stack) == {"room:tea": 1, "room:coffee": 1}
        two.call("leave", "coffee")
        eventually(lambda: _subscriptions(stack) == {"room:tea": 1}, "nobody listens to an empty room")
        stack.container("hub").stop(timeout=1)
        eventually(lambda: "hub is away" in stack.read_in(stack.server, "healthy"), "it is said")
        assert two.call("send", "tea", "two 0") is False
        eventually(lambda: one.heard.get("two") == [0], "one hears two")
        assert one.call("count", "tea") == 2
        assert two.call("is_online", "ann") is True
        assert "degraded" in stack.read_in(stack.server, "status")
        metrics = stack.read_in(stack.server, "python", "-c", READ_METRICS)
        assert "wss_hub_up 0.0" in metrics
        assert "wss_hub_messages_lost_total 1.0" in metrics
        assert len(_events(stack, "the hub is away")) == 1
        new = Talker(target, "new", "tea")
        talk.talkers.append(new)
        assert new.call("count", "tea") == 3
        stack.container("hub").start()
        eventually(lambda: new.call("send", "tea", "new 0"), "it is connected again")
    assert stack.container(stack.server).attrs["State"]["Health"]["Status"] == "healthy"


@pytest.mark.profiles("nginx")
def test_rooms_of_several_processes_need_a_hub(profile: str, new_stack: NewStack) -> None:
    stack = new_stack(profile, APP="apps.rooms:handler", WORKERS="2")
    outcome = stack.start("--wait")
    assert outcome.code != 0
    assert "error: WORKERS=2: the handler uses wss.rooms" in stack.logs("check")


@pytest.mark.profiles("nginx")
def test_rooms_of_several_replicas_need_a_hub(profile: str, new_stack: NewStack, ca_file: Path) -> None:
    stack = new_stack(profile, APP="apps.rooms:handler")
    stack.up()
    outcome = stack.start("--wait", "--no-recreate", "--scale=backend=2")
    assert outcome.code != 0
    assert "error: 2 replicas: the handler uses wss.rooms" in stack.logs("backend")
    # The first one goes on.
    assert ask(target_of(stack, ca_file), "/wss").status == 426


@pytest.mark.profiles("nginx")
def test_the_hub_lets_nobody_in_without_its_password(profile: str, new_stack: NewStack) -> None:
    stack = new_stack(profile, APP="apps.rooms:handler", HUB="valkey://:wrong@hub")
    outcome = stack.start("--wait")
    assert outcome.code != 0
    assert "error: HUB='valkey://…@hub': it refuses us" in stack.logs("backend")
    hub = stack.container("hub")
    assert stack.read_in("hub", "valkey-cli", "ping").startswith("NOAUTH")
    assert stack.read_in("hub", "id", "-u") == "10001\n"
    assert not hub.ports.get("6379/tcp")
    networks = list(hub.attrs["NetworkSettings"]["Networks"])
    assert networks == [f"{stack.project}_inner"]
    assert stack.engine.networks.get(networks[0]).attrs["Internal"] is True
