"""The faults: each is done again and again while the clients send."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from docker.models.containers import Container
from eventually import eventually
from stack import Stack

from chaos.crowd import Crowd

RANDOM = random.Random(21)  # noqa: S311
REPLICAS = 3
# The master is process 1, and its children are the workers.
KILL_A_WORKER = "read -ra workers </proc/1/task/1/children; kill -KILL ${workers[RANDOM % ${#workers[@]}]}"
CUT_SUBSCRIPTIONS = 'REDISCLI_AUTH=$(cat "$HUB_PASSWORD_FILE") valkey-cli client kill type pubsub'

Inject = Callable[[Crowd, Stack], Coroutine[Any, Any, None]]


class Fault(NamedTuple):
    name: str
    inject: Inject
    needs_persistence: bool = False


async def nothing(crowd: Crowd, _: Stack) -> None:
    await crowd.exchange(20)


async def cut_a_line(crowd: Crowd, _: Stack) -> None:
    RANDOM.choice(crowd.members).cut()
    await crowd.exchange(3)


async def silence_a_line(crowd: Crowd, _: Stack) -> None:
    """Cut a line whose client has not read for a while: what was in transit is lost."""
    member = RANDOM.choice(crowd.members)
    member.pause()
    await crowd.exchange(20)
    member.cut()


async def kill_a_worker(crowd: Crowd, stack: Stack) -> None:
    replica = RANDOM.choice(stack.containers(stack.server))
    done = await asyncio.to_thread(replica.exec_run, ["bash", "-c", KILL_A_WORKER])
    assert done.exit_code == 0, done.output
    await crowd.exchange(60)


async def kill_a_replica(crowd: Crowd, stack: Stack) -> None:
    replica = RANDOM.choice(stack.containers(stack.server))
    await asyncio.to_thread(replica.kill)
    await crowd.exchange(30)
    await asyncio.to_thread(replica.start)
    await asyncio.to_thread(eventually, lambda: _is_healthy(replica), "the replica is healthy")


async def restart_the_proxy(crowd: Crowd, stack: Stack) -> None:
    await asyncio.to_thread(stack.container().restart)
    await crowd.exchange(60)


async def kill_the_proxy(crowd: Crowd, stack: Stack) -> None:
    await asyncio.to_thread(stack.container().kill)
    await asyncio.to_thread(stack.container().start)
    await crowd.exchange(60)


async def redeploy_the_backends(crowd: Crowd, stack: Stack) -> None:
    scale = f"--scale={stack.server}={REPLICAS}"
    command = ("up", "--no-build", "--wait", "--force-recreate", "--no-deps", scale, stack.server)
    outcome = await asyncio.to_thread(stack.compose, *command)
    assert outcome.code == 0, outcome.output
    await crowd.exchange(60)


async def cut_subscriptions(crowd: Crowd, stack: Stack) -> None:
    """Close the connections over which workers receive publications, while the others publish."""
    await asyncio.to_thread(stack.run_in, "hub", "sh", "-c", CUT_SUBSCRIPTIONS)
    await crowd.exchange(10)


async def restart_the_hub(crowd: Crowd, stack: Stack) -> None:
    hub = stack.container("hub")
    await asyncio.to_thread(RANDOM.choice((hub.restart, hub.kill)))
    await asyncio.to_thread(hub.start)
    await crowd.exchange(60)


async def cut_off_a_replica(crowd: Crowd, stack: Stack) -> None:
    """Disconnect a replica from the network of hub and proxy."""
    await _cut_off(crowd, stack, RANDOM.choice(stack.containers(stack.server)), stack.server)


async def cut_off_the_hub(crowd: Crowd, stack: Stack) -> None:
    await _cut_off(crowd, stack, stack.container("hub"), "hub")


async def do_any(crowd: Crowd, stack: Stack) -> None:
    """Inject any other fault, while lines are cut."""
    others = [fault.inject for fault in faults_of(stack) if fault.inject not in (nothing, cut_a_line, do_any)]
    inject = RANDOM.choice(others)
    async with asyncio.TaskGroup() as group:
        group.create_task(inject(crowd, stack))
        for _ in range(10):
            await cut_a_line(crowd, stack)


async def _cut_off(crowd: Crowd, stack: Stack, container: Container, alias: str) -> None:
    network = stack.engine.networks.get(*stack.container("hub").attrs["NetworkSettings"]["Networks"])
    await asyncio.to_thread(network.disconnect, container)
    await crowd.attempt(250)  # for longer than the silence after which a worker considers the hub dead
    await asyncio.to_thread(network.connect, container, aliases=[alias])
    await crowd.exchange(60)


def _is_healthy(container: Container) -> bool:
    container.reload()
    return bool(container.attrs["State"]["Health"]["Status"] == "healthy")


FAULTS = (
    Fault("none", nothing),
    Fault("lines are cut", cut_a_line),
    Fault("lines are silent, then cut", silence_a_line),
    Fault("workers are killed", kill_a_worker),
    Fault("replicas are killed", kill_a_replica),
    Fault("the proxy restarts", restart_the_proxy),
    Fault("the proxy is killed", kill_the_proxy),
    Fault("the backends are redeployed", redeploy_the_backends),
    Fault("a replica is cut off from the hub", cut_off_a_replica),
    Fault("subscriptions to the hub are cut", cut_subscriptions),
    Fault("the hub is cut off", cut_off_the_hub),
    Fault("the hub restarts", restart_the_hub),
    Fault("the hub restarts, HUB_PERSIST=1", restart_the_hub, needs_persistence=True),
    Fault("any of these, and lines are cut", do_any, needs_persistence=True),
)

# Socket.IO has one process per replica, and reads from the hub without subscriptions.
_OURS_ONLY = (kill_a_worker, cut_subscriptions)


def faults_of(stack: Stack) -> list[Fault]:
    return [fault for fault in FAULTS if stack.server == "backend" or fault.inject not in _OURS_ONLY]
