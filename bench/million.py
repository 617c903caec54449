"""The resources for a million clients, calculated from the results.

Only the figures in results.json are measured; the constants below are assumptions. `python -m bench.publish` writes
million.md and million.svg to bench/results.
"""

import math
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from bench.capacity import Figures
from bench.charts import lines
from bench.markdown import table
from bench.plan import Results

# The profile that the calculation uses.
SUBJECT = "nginx wss"

CLIENTS = 1_000_000
# Of each client, in both directions together.
MESSAGES_PER_SECOND = 1 / 30
# A host, and its maximum utilization: the rest is a reserve for lost hosts and reconnects.
CORES, GIBIBYTES, BUSY = 8, 32, 0.5
# Kernel memory for a connection: three idle sockets (client to proxy, proxy to backend, backend).
KERNEL_KILOBYTES = 3 * 2.5
# The share of clients in one region, which all lose their connections at the same moment.
REGION = 1 / 3

# Backends of each proxy.
BACKENDS = 8

# Limits of this stack (docs/settings.md, nginx.conf).
PER_PROXY, PER_WORKER, FILES, PORTS = 10_000, 16_000, 65_536, 64_511

# site/index.html and chat.html: first and maximum backoff in seconds; jitter shortens each by up to a half.
FIRST_DELAY, MAX_DELAY = 1.0, 30.0
# Seconds between a client kernel's SYN retries (tcp(7): tcp_syn_retries), until the client gives up.
SYN_PAUSES = (1.0, 2.0, 4.0)
# Listen queue of a proxy: nginx's default backlog.
QUEUE = 511

# CPU microseconds of Valkey per message, and per worker that receives it (8.1, 200 bytes, a busy hub).
HUB_MESSAGE, HUB_DELIVERY = 2.3, 0.5

STEP, MAX_RUN = 0.1, 600.0  # seconds


class Costs:
    """Costs of a client, a message and a reconnect in a storm, from results.json."""

    def __init__(self, results: Results) -> None:
        figures = Figures(results)
        # An echo counts as two messages.
        self.message = figures.echo(SUBJECT, 1) / 2 / 1e6
        self.reconnect = figures.median("storm", SUBJECT, "milliseconds", kind="full") / 1e3
        self.resumed = figures.median("storm", SUBJECT, "milliseconds", kind="resumed") / 1e3
        self.kilobytes = figures.kilobytes(SUBJECT) + KERNEL_KILOBYTES


class Requirement(NamedTuple):
    """The hosts that one resource requires."""

    calculation: str
    hosts: float
    remedy: str


def requirements(costs: Costs) -> dict[str, Requirement]:
    """Return the requirement of each resource; the first three are properties of hosts, the others are limits."""
    gibibytes = CLIENTS * costs.kilobytes / (1 << 20)
    cores = CLIENTS * MESSAGES_PER_SECOND * costs.message
    return {
        "memory": Requirement(
            f"{costs.kilobytes:.0f} KB per client, {gibibytes:.0f} GiB", gibibytes / GIBIBYTES / BUSY, "more memory"
        ),
        "messages": Requirement(
            f"{costs.message * 1e6:.0f} µs each, {cores:.1f} cores", cores / CORES / BUSY, "more cores"
        ),
        "workers": Requirement(
            f"{PER_WORKER:,} websockets each, one per core", CLIENTS / PER_WORKER / CORES, "`MAX_CONNECTIONS`"
        ),
        "proxies": Requirement(
            f"{PER_PROXY:,} websockets each, one per host",
            CLIENTS / PER_PROXY,
            "`PROXY_CONNECTIONS`",
        ),
        "files": Requirement(
            f"{FILES:,} per proxy, two per client", 2 * CLIENTS / FILES, "the hard limit, and the limit in `start`"
        ),
        "ports": Requirement(
            f"{PORTS:,} per proxy and backend address",
            CLIENTS / PORTS / BACKENDS,
            "more backends, each of which adds as many ports",
        ),
    }


def reconnect(clients: float, handshakes_per_second: float, queue: int, *, backoff: bool) -> list[tuple[float, float]]:
    """Return the number of reconnected clients over time; `backoff`: with the page's backoff, else retry every second.

    A server accepts clients until its listen queue is full, and ignores the SYNs of others. Their kernel sends three
    more SYNs at growing intervals; then the attempt has failed, and the client retries after a pause.
    """
    # Clients that send a SYN in a step, by failed attempts and by SYN retries of the present attempt.
    arriving: dict[int, Counter[tuple[int, int]]] = {}
    queued = connected = 0.0
    curve = [(0.0, 0.0)]

    def schedule(earliest: float, latest: float, failures: int, tries: int, number: float) -> None:
        steps = range(step + max(round(earliest / STEP), 1), step + round(latest / STEP) + 1)
        for each in steps:
            arriving.setdefault(each, Counter())[failures, tries] += number / len(steps)  # type: ignore[assignment]

    def pause(failures: int, number: float) -> None:
        longest = min(MAX_DELAY, FIRST_DELAY * 2**failures) if backoff else FIRST_DELAY
        schedule(longest / 2 if backoff else longest, longest, failures, 0, number)

    step = 0
    pause(0, clients)
    while connected < 0.999 * clients and step < MAX_RUN / STEP:
        step += 1
        arrived = arriving.pop(step, Counter())
        accepted = min(1.0, (queue - queued) / total) if (total := sum(arrived.values())) else 0.0
        queued += accepted * total
        for (failures, tries), number in arrived.items():
            ignored = (1 - accepted) * number
            if tries < len(SYN_PAUSES):
                schedule(SYN_PAUSES[tries], SYN_PAUSES[tries], failures, tries + 1, ignored)
            else:
                pause(failures + 1, ignored)
        served = min(queued, handshakes_per_second * STEP)
        queued -= served
        connected += served
        if step % round(2 / STEP) == 0:
            curve.append((step * STEP, connected))
    return [*curve, (step * STEP, connected)]


def report(costs: Costs) -> tuple[str, str]:
    """Return the page and the chart."""
    required = requirements(costs)
    first = max(required, key=lambda name: required[name].hosts)
    hosts = math.ceil(max(required[name].hosts for name in ("memory", "messages", "workers")))
    region = CLIENTS * REGION
    # The reserve of the remaining hosts, beyond the load of their own clients.
    reserve = hosts * (1 - REGION) * CORES * (1 - BUSY)
    handshake_rate = reserve / costs.reconnect
    queue = math.ceil(QUEUE * hosts * (1 - REGION))
    curves = {
        "with backoff": reconnect(region, handshake_rate, queue, backoff=True),
        "every second": reconnect(region, handshake_rate, queue, backoff=False),
        "with resumed TLS sessions": reconnect(region, reserve / costs.resumed, queue, backoff=True),
        "half the cores": reconnect(region, handshake_rate / 2, queue, backoff=True),
    }
    chart = lines(
        f"{region:,.0f} of {CLIENTS:,} clients reconnect to two thirds of {hosts} hosts",
        ("seconds", "thousands"),
        {name: [(x, y / 1e3) for x, y in curve] for name, curve in curves.items()},
    )
    workers = CLIENTS / PER_WORKER
    to_all = 1e6 / (HUB_MESSAGE + HUB_DELIVERY * workers)
    to_one = 1e6 / (HUB_MESSAGE + HUB_DELIVERY)
    parts = [
        f"# {CLIENTS:,} clients, calculated",
        f"Calculated from results.json ({SUBJECT}) by bench/million.py, which lists the assumptions. Each"
        f" client has {MESSAGES_PER_SECOND:.3f} messages a second; a host has {CORES} cores and {GIBIBYTES} GiB,"
        f" and is {BUSY:.0%} busy.",
        table(
            "Hosts that each resource requires",
            ("", "calculation", "hosts", "remedy"),
            (
                (name, requirement.calculation, f"{requirement.hosts:.1f}", requirement.remedy)
                for name, requirement in required.items()
            ),
        ),
        f"With the present limits, **{first}** run out first. With raised limits, {hosts} hosts are enough.",
        table(
            f"After the loss of a region, {region:,.0f} clients reconnect: {handshake_rate:,.0f} handshakes a second",
            ("clients", "half are connected after", "all after"),
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
        f" {to_one:,.0f} to rooms of one worker. For more, use a Valkey cluster with sharded pub/sub, where each room"
        " has a shard; a broadcast to all clients still passes one shard, and each worker.",
    ]
    return "\n\n".join(parts) + "\n", chart


def _when(curve: list[tuple[float, float]], number: float) -> str:
    return next((f"{x:.0f} s" for x, y in curve if y >= number), f"not within {MAX_RUN:.0f} s")


def write(results: Results, directory: Path) -> None:
    page, chart = report(Costs(results))
    (directory / "million.md").write_text(page)
    (directory / "million.svg").write_text(chart)
