"""On paper, to a million clients: `python -m bench.million` computes from bench/results what they take.

Nothing here is measured but what results.json has; every assumption is one of the names in capitals below. It writes
million.md and million.svg beside the results.
"""

import json
import math
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from bench.charts import lines
from bench.tables import table

RESULTS = Path(__file__).parent / "results"
# By way of which of our profiles.
SUBJECT = "nginx wss"

CLIENTS = 1_000_000
# Of each client, both ways together.
MESSAGES_PER_SECOND = 1 / 30
# A host, and how busy it may be: the rest is for the hosts that are lost, and for reconnects.
CORES, GIBIBYTES, BUSY = 8, 32, 0.5
# What the kernel has for a connection: three sockets (client to proxy, proxy to backend, backend), idle.
KERNEL_KILOBYTES = 3 * 2.5
# Of all clients, those of one region are lost at once.
REGION = 1 / 3

# Backends that each proxy knows.
BACKENDS = 8

# The limits of this stack (README, nginx.conf).
PER_PROXY, PER_WORKER, FILES, PORTS = 10_000, 16_000, 65_536, 64_511

# site/index.html and chat.html: seconds of the first pause and the longest; each is up to a half shorter by chance.
FIRST_DELAY, LONGEST_DELAY = 1.0, 30.0
# Seconds until a client's kernel tries again where nothing answers (tcp(7): tcp_syn_retries), as long as clients wait.
SYN_PAUSES = (1.0, 2.0, 4.0)
# Connections that wait to be accepted by one proxy: nginx's own default.
QUEUE = 511

# Microseconds of Valkey's one core for a message, and for each worker that it goes to (8.1, 200 bytes, a busy hub).
HUB_MESSAGE, HUB_DELIVERY = 2.3, 0.5

STEP, LONGEST_RUN = 0.1, 600.0  # seconds


class Figures:
    """What one client, one message and one handshake cost, by results.json."""

    def __init__(self, results: dict[str, Any]) -> None:
        def of_subject(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [row for row in rows if row["subject"] == SUBJECT]

        shape = {"payload": 128, "window": 1, "connections": 50}
        (echo,) = (row for row in of_subject(results["echo"]) if all(row[key] == shape[key] for key in shape))
        (shaken,) = of_subject(results["handshakes"])
        # An echo is two messages.
        self.message = median(echo["microseconds"]) / 2 / 1e6
        self.handshake = median(shaken["full"]) / 1e3
        self.kilobytes = of_subject(results["grow"])[-1]["kilobytes"] + KERNEL_KILOBYTES


class Need(NamedTuple):
    """What one resource asks for."""

    how: str
    hosts: float
    remedy: str


def needs(figures: Figures) -> dict[str, Need]:
    """Return what each resource asks for; the first three are what hosts are made of, the others are limits."""
    gibibytes = CLIENTS * figures.kilobytes / (1 << 20)
    cores = CLIENTS * MESSAGES_PER_SECOND * figures.message
    return {
        "memory": Need(
            f"{figures.kilobytes:.0f} KB a client, {gibibytes:.0f} GiB", gibibytes / GIBIBYTES / BUSY, "more of it"
        ),
        "messages": Need(f"{figures.message * 1e6:.0f} µs each, {cores:.1f} cores", cores / CORES / BUSY, "more cores"),
        "workers": Need(
            f"{PER_WORKER:,} websockets each, one to a core", CLIENTS / PER_WORKER / CORES, "`MAX_CONNECTIONS`"
        ),
        "proxies": Need(
            f"{PER_PROXY:,} websockets each, one to a host",
            CLIENTS / PER_PROXY,
            "`worker_connections` and `limit_conn` of nginx.conf",
        ),
        "files": Need(
            f"{FILES:,} in a proxy, two for each client", 2 * CLIENTS / FILES, "the hard limit, and the one in `start`"
        ),
        "ports": Need(
            f"{PORTS:,} of a proxy's for each address of a backend",
            CLIENTS / PORTS / BACKENDS,
            "more backends: their number multiplies it",
        ),
    }


def reconnect(clients: float, handshakes_per_second: float, queue: int, *, patient: bool) -> list[tuple[float, float]]:
    """Return how many are back, by seconds since all were lost; `patient`: with the pauses of our page, else of 1 s.

    A server accepts as many as its listen queue has room for. To others it does not answer: their kernel tries again
    three times, each time later; then they have failed, and come again after a pause.
    """
    # How many come in which step, by how often they have failed, and how often their kernel has tried.
    coming: dict[int, Counter[tuple[int, int]]] = {}
    queued = back = 0.0
    curve = [(0.0, 0.0)]

    def schedule(earliest: float, latest: float, failures: int, tries: int, number: float) -> None:
        steps = range(step + max(round(earliest / STEP), 1), step + round(latest / STEP) + 1)
        for each in steps:
            coming.setdefault(each, Counter())[failures, tries] += number / len(steps)  # type: ignore[assignment]

    def pause(failures: int, number: float) -> None:
        longest = min(LONGEST_DELAY, FIRST_DELAY * 2**failures) if patient else FIRST_DELAY
        schedule(longest / 2 if patient else longest, longest, failures, 0, number)

    step = 0
    pause(0, clients)
    while back < 0.999 * clients and step < LONGEST_RUN / STEP:
        step += 1
        arrived = coming.pop(step, Counter())
        taken = min(1.0, (queue - queued) / total) if (total := sum(arrived.values())) else 0.0
        queued += taken * total
        for (failures, tries), number in arrived.items():
            left = (1 - taken) * number
            if tries < len(SYN_PAUSES):
                schedule(SYN_PAUSES[tries], SYN_PAUSES[tries], failures, tries + 1, left)
            else:
                pause(failures + 1, left)
        served = min(queued, handshakes_per_second * STEP)
        queued -= served
        back += served
        if step % round(2 / STEP) == 0:
            curve.append((step * STEP, back))
    return [*curve, (step * STEP, back)]


def report(figures: Figures) -> tuple[str, str]:
    """Return the page and the chart."""
    needed = needs(figures)
    first = max(needed, key=lambda name: needed[name].hosts)
    hosts = math.ceil(max(needed[name].hosts for name in ("memory", "messages", "workers")))
    region = CLIENTS * REGION
    # What the hosts that are left do not need for the clients that they have.
    shaking = hosts * (1 - REGION) * CORES * (1 - BUSY) / figures.handshake
    queue = math.ceil(QUEUE * hosts * (1 - REGION))
    curves = {
        "with our pauses": reconnect(region, shaking, queue, patient=True),
        "every second": reconnect(region, shaking, queue, patient=False),
        "half the cores": reconnect(region, shaking / 2, queue, patient=True),
    }
    chart = lines(
        f"{region:,.0f} of {CLIENTS:,} clients come back, to two thirds of {hosts} hosts",
        ("seconds", "thousands"),
        {name: [(x, y / 1e3) for x, y in curve] for name, curve in curves.items()},
    )
    workers = CLIENTS / PER_WORKER
    to_all = 1e6 / (HUB_MESSAGE + HUB_DELIVERY * workers)
    to_one = 1e6 / (HUB_MESSAGE + HUB_DELIVERY)
    parts = [
        f"# {CLIENTS:,} clients, on paper",
        f"From results.json ({SUBJECT}) by `python -m bench.million`, where the assumptions are. Each client has"
        f" {MESSAGES_PER_SECOND:.3f} messages a second; a host has {CORES} cores and {GIBIBYTES} GiB,"
        f" and is {BUSY:.0%} busy.",
        table(
            "Hosts, by what each resource asks for",
            ("", "how", "hosts", "what then"),
            ((name, need.how, f"{need.hosts:.1f}", need.remedy) for name, need in needed.items()),
        ),
        f"With the limits as they are, **{first}** are what runs out first. With those raised, {hosts} hosts do.",
        table(
            f"After the loss of a region, {region:,.0f} clients come back: {shaking:,.0f} handshakes a second",
            ("clients", "half are back after", "all after"),
            (
                (
                    name,
                    _when(curve, region / 2),
                    _when(curve, 0.999 * region),
                )
                for name, curve in curves.items()
            ),
        ),
        f"**The hub** has one core: {to_all:,.0f} messages a second to rooms with members on all {workers:.0f} workers,"
        f" {to_one:,.0f} to rooms of one worker. More is for a Valkey cluster with sharded pub/sub, where each room has"
        " a shard; what goes to everybody still passes one of them, and each worker.",
    ]
    return "\n\n".join(parts) + "\n", chart


def _when(curve: list[tuple[float, float]], number: float) -> str:
    return next((f"{x:.0f} s" for x, y in curve if y >= number), f"not within {LONGEST_RUN:.0f} s")


def main() -> None:
    page, chart = report(Figures(json.loads((RESULTS / "results.json").read_text())))
    (RESULTS / "million.md").write_text(page)
    (RESULTS / "million.svg").write_text(chart)
    print(page)


if __name__ == "__main__":
    main()
