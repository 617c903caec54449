"""Presence while the hub is unreachable or restarts, with a model of it: joins and leaves alternate, nobody is lost."""

import asyncio
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from server import REPOSITORY
from wss.rooms.hub import RECONNECT_TIME
from wss.rooms.membership import Client
from wss.rooms.presence import SWEEP_INTERVAL, Presence, Watch, Watcher
from wss.rooms.store import Entry

TOPIC, GRACE = "room:tea", 5.0
USERS = ("ann", "bob")
OTHERS_IN = round(RECONNECT_TIME)  # seconds until all workers are connected again
CALM = 60  # seconds: longer than any lease


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Hub:
    """Has the leases of all workers, like the scripts in wss.rooms.leases."""

    def __init__(self, clock: Clock) -> None:
        self.now = clock
        self.data_id = 1
        self.leases: dict[str, dict[int, float]] = {}
        self.announced: list[str] = []
        self.workers: list[Worker] = []

    def announce(self, entry: Entry) -> None:
        self.announced.append(entry.payload.decode())
        for worker in self.workers:
            if worker.connected:
                worker.received.append(entry.payload.decode())


class Leases:
    """The leases of one worker, in the hub."""

    def __init__(self, hub: Hub, worker: "Worker") -> None:
        self._hub, self._worker = hub, worker

    def renew(
        self, _: str, user: str, seconds: float, joined: Entry | None = None, *, add: bool = True
    ) -> asyncio.Future[bool | None]:
        reply: asyncio.Future[bool | None] = asyncio.get_running_loop().create_future()
        if self._worker.is_breaking:
            self._worker.pending.append(reply)
            return reply
        if not self._worker.connected:
            reply.set_result(None)
            return reply
        is_new = user not in self._hub.leases
        if is_new and not add:
            reply.set_result(False)
            return reply
        self._hub.leases.setdefault(user, {})[self._worker.number] = self._hub.now() + seconds
        reply.set_result(is_new and joined is not None)
        if is_new and joined:
            self._hub.announce(joined)
        return reply

    async def ended(self) -> list[tuple[str, str]] | None:
        if not self._worker.connected:
            return None
        return [(TOPIC, user) for user in self._hub.leases if self._has_ended(user)]

    async def leave(self, _: str, user: str, left: Entry) -> None:
        if self._has_ended(user):
            del self._hub.leases[user]
            self._hub.announce(left)

    def _has_ended(self, user: str) -> bool:
        return max(self._hub.leases[user].values()) <= self._hub.now()


class Worker:
    """A worker with its clients, and the events that a client of it in the room has received."""

    def __init__(self, number: int, hub: Hub, clock: Clock) -> None:
        self.number, self.connected, self.reconnects_at, self.data_id = number, True, 0.0, hub.data_id
        self.has_missed = self.is_breaking = False
        self.pending: list[asyncio.Future[bool | None]] = []
        self.received: list[str] = []
        self.clients: dict[str, Client] = {}
        self.watcher = Watcher(Leases(hub, self), clock)
        self.watcher.watch("*", Watch(GRACE, _announce))
        self.watcher.connect(OTHERS_IN, has_lost_data=True)
        self.watcher.start()

    async def enter(self, user: str) -> None:
        if user not in self.clients:
            self.clients[user] = Client(None, user, user, {TOPIC})  # type: ignore[arg-type]  # it is not used
            await self.watcher.enter(TOPIC, self.clients[user])

    def leave(self, user: str, *, at_once: bool) -> None:
        if client := self.clients.pop(user, None):
            self.watcher.leave(TOPIC, client, at_once=at_once)


class Machine:
    """Two workers and a hub; time passes only in `wait`."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.hub = Hub(self.clock)
        self.is_up = True
        self.hub.workers = [Worker(number, self.hub, self.clock) for number in range(2)]

    async def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.now += SWEEP_INTERVAL
            for worker in self.hub.workers:
                if self.is_up and not worker.connected and self.clock.now >= worker.reconnects_at:
                    has_lost_data, worker.data_id = worker.data_id != self.hub.data_id, self.hub.data_id
                    worker.connected = True
                    worker.watcher.connect(OTHERS_IN, has_lost_data)
                await worker.watcher.tick()
                await asyncio.sleep(0)  # for the callbacks of futures

    def down(self) -> None:
        self.is_up = False
        for worker in self.hub.workers:
            worker.connected = worker.is_breaking = False
            for reply in worker.pending:
                reply.set_result(None)

    def up(self, delays: tuple[int, int], *, loses_data: bool) -> None:
        if self.is_up:
            return
        self.is_up = True
        # That the users of a worker have left because it was cut off is forgotten, too: not repaired.
        if loses_data and not any(worker.has_missed for worker in self.hub.workers):
            self.hub.data_id += 1
            self.hub.leases.clear()
        for worker, delay in zip(self.hub.workers, delays, strict=True):
            worker.reconnects_at = self.clock.now + delay


class Event(NamedTuple):
    """A call of a method of Machine, or of one of its workers."""

    name: str
    worker: int = 0
    user: str = ""
    at_once: bool = False
    seconds: int = 0
    delays: tuple[int, int] = (0, 0)
    loses_data: bool = False

    async def apply(self, machine: Machine) -> None:
        worker = machine.hub.workers[self.worker]
        match self.name:
            case "enter":
                await worker.enter(self.user)
            case "leave":
                worker.leave(self.user, at_once=self.at_once)
            case "cut" if worker.connected:
                worker.connected, worker.has_missed = False, True
                worker.reconnects_at = machine.clock.now + self.seconds
            case "down":
                machine.down()
            case "up":
                machine.up(self.delays, loses_data=self.loses_data)
            case "wait":
                await machine.wait(self.seconds)
        await asyncio.sleep(0)


def _announce(change: Presence) -> str:
    return f"{change.user} {'joins' if change.is_present else 'leaves'}"


def _alternating(is_present: bool, received: list[str], user: str) -> bool:
    """Return whether joins and leaves of a user alternate, and the last one is right."""
    events = [event.removeprefix(f"{user} ") for event in received if event.startswith(f"{user} ")]
    return (
        events == [("joins", "leaves")[number % 2] for number in range(len(events))] and len(events) % 2 == is_present
    )


workers, users = st.integers(0, 1), st.sampled_from(USERS)
delays = st.tuples(st.integers(0, OTHERS_IN - 2), st.integers(0, OTHERS_IN - 2))
events = st.one_of(
    st.tuples(workers, users).map(lambda drawn: Event("enter", *drawn)),
    st.tuples(workers, users, st.booleans()).map(lambda drawn: Event("leave", *drawn)),
    st.integers(1, 12).map(lambda seconds: Event("wait", seconds=seconds)),
    st.tuples(workers, st.integers(1, 30)).map(lambda drawn: Event("cut", drawn[0], seconds=drawn[1])),
    st.just(Event("down")),
    st.tuples(delays, st.booleans()).map(lambda drawn: Event("up", delays=drawn[0], loses_data=drawn[1])),
)


def wait(seconds: int) -> Event:
    return Event("wait", seconds=seconds)


def restart(*delays: int) -> tuple[Event, Event]:
    return DOWN, Event("up", delays=delays, loses_data=True)  # type: ignore[arg-type]


ENTER, LEAVE, DOWN = Event("enter", 1, "ann"), Event("leave", 1, "ann"), Event("down")
CUT = Event("cut", 1, seconds=20)


@settings(max_examples=300)
@given(st.lists(events, max_size=20))
@example([ENTER, wait(1), *restart(0, 0)])
# The other worker is connected later, and would miss the join.
@example([DOWN, ENTER, Event("up", delays=(5, 0))])
@example([*restart(5, 0), wait(1), ENTER])
# The user is within the grace time, so that only a lease knows of the user.
@example([ENTER, wait(1), LEAVE, wait(1), *restart(5, 0)])
@example([ENTER, wait(1), LEAVE, wait(1), DOWN, wait(8), *restart(5, 0)])
# The user has left for all before the hub restarts.
@example([ENTER, LEAVE, wait(12), *restart(5, 0)])
# The worker is not connected when its user leaves for all.
@example([ENTER, LEAVE, wait(4), Event("cut", 1, seconds=4)])
# The worker is not connected for so long that its user leaves for all.
@example([ENTER, CUT, wait(25)])
@example([ENTER, CUT, LEAVE])
@example([ENTER, CUT, wait(21), LEAVE])
# Another worker is connected before the one that the user has left.
@example([ENTER, DOWN, wait(7), LEAVE])
# The user comes and goes while the hub is unreachable: once known, twice unknown.
@example([ENTER, wait(1), DOWN, LEAVE, ENTER, LEAVE, Event("up", loses_data=True)])
@example([DOWN, ENTER, LEAVE, Event("up")])
@example([DOWN, ENTER, LEAVE, Event("up", loses_data=True)])
def test_joins_and_leaves_alternate_and_end_as_the_users_are(happened: list[Event]) -> None:
    machine = _run(happened)
    for user in USERS:
        is_present = any(user in worker.clients for worker in machine.hub.workers)
        assert _alternating(is_present, machine.hub.announced, user), machine.hub.announced
        for worker in machine.hub.workers:
            assert worker.has_missed or worker.received == machine.hub.announced


@pytest.mark.parametrize("delays", [(0, 0), (0, 5), (5, 0)])
def test_a_user_who_is_back_before_the_hub_restarts_stays(delays: tuple[int, int]) -> None:
    machine = _run([ENTER, wait(1), LEAVE, wait(1), ENTER, wait(1), *restart(*delays)])
    assert machine.hub.announced == ["ann joins"]


def test_the_documentation_has_the_seconds_after_an_outage() -> None:
    page = (REPOSITORY / "docs" / "rooms.md").read_text()
    assert f"within {OTHERS_IN} s." in page
    assert f"follow {OTHERS_IN} s after" in page


def test_a_join_that_is_on_its_way_when_the_hub_breaks_is_announced_later() -> None:
    async def run() -> Machine:
        machine = Machine()
        (*_, worker) = machine.hub.workers
        worker.is_breaking = True
        entering = asyncio.create_task(worker.enter("ann"))
        await asyncio.sleep(0)
        assert worker.pending
        machine.down()
        await entering
        machine.up((0, 1), loses_data=True)
        await _calm_down(machine)
        return machine

    assert asyncio.run(run()).hub.announced == ["ann joins"]


def _run(happened: list[Event]) -> Machine:
    """Return the machine a while after these events."""

    async def run() -> Machine:
        machine = Machine()
        for event in happened:
            await event.apply(machine)
        await _calm_down(machine)
        return machine

    return asyncio.run(run())


async def _calm_down(machine: Machine) -> None:
    machine.up((0, 1), loses_data=False)
    await machine.wait(CALM)
    for worker in machine.hub.workers:
        worker.watcher.stop()
