"""The load generator: one process, one epoll, no websocket library, because it must cost less than what it measures.

Each line of standard input is a task, such as {"workload": "echo", "place": {"port": 443, …}, "payload": 128, …}. It
answers with `start`, `end` and a line of JSON. It runs in the server's network namespace: nothing is between the two.
"""

import json
import resource
import ssl
import sys
import time
from collections.abc import Callable
from typing import Any

from clients import Clients, Place
from frames import raw_ring, websocket_ring


def echo(place: Place, payload: int, window: int, connections: int, seconds: float) -> dict[str, Any]:
    """Keep all windows full; what is counted is between two lines on standard output, `start` and the result."""
    ring = websocket_ring(payload) if place.path else raw_ring(payload)
    clients = Clients(place, ring, connections, window)
    clients.start()
    _until(clients, time.perf_counter() + seconds / 4)
    before, started, used = clients.replies, _say("start"), _own_cpu()
    _until(clients, started + seconds)
    replies, lasted, used = clients.replies - before, time.perf_counter() - started, _own_cpu() - used
    _say("end")
    while clients.missing:
        clients.turn(more=False)
    clients.close()
    return {"messages": replies, "seconds": lasted, "own_cpu": used / lasted, "lost": clients.missing}


def handshakes(place: Place, resumed: bool, seconds: float) -> dict[str, Any]:
    """Open and close one connection after another."""
    context = place.context()
    assert context
    session = None
    if resumed:
        first = place.connect(context)
        assert isinstance(first, ssl.SSLSocket)
        session = first.session
        first.close()
    count, kept = 0, 0
    started, used = _say("start"), _own_cpu()
    while time.perf_counter() < started + seconds:
        connection = place.connect(context, session)
        assert isinstance(connection, ssl.SSLSocket)
        kept += bool(connection.session_reused)
        if resumed:
            session = connection.session
        connection.close()
        count += 1
    lasted, used = time.perf_counter() - started, _own_cpu() - used
    _say("end")
    assert kept == (count if resumed else 0), f"{kept} of {count} handshakes were resumed"
    return {"handshakes": count, "seconds": lasted, "own_cpu": used / lasted}


def idle(place: Place, connections: int) -> dict[str, Any]:
    """Open this many, and hold them until a line comes on standard input."""
    context = place.context()
    held = [place.connect(context) for _ in range(connections)]
    _say("start")
    sys.stdin.readline()
    _say("end")
    return {"connections": len(held)}


def _until(clients: Clients, end: float) -> None:
    while time.perf_counter() < end:
        clients.turn(more=True)


def _say(word: str) -> float:
    print(word, flush=True)
    return time.perf_counter()


def _own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


WORKLOADS: dict[str, Callable[..., dict[str, Any]]] = {"echo": echo, "handshakes": handshakes, "idle": idle}


def main() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
    while line := sys.stdin.readline():
        task = json.loads(line)
        place = Place(**task.pop("place"))
        print(json.dumps(WORKLOADS[task.pop("workload")](place, **task)), flush=True)


if __name__ == "__main__":
    main()
