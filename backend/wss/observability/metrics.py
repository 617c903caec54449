"""Metrics of a worker, for Prometheus.

The workers write into files in RUN_DIR, and the supervisor adds them up for each scrape. The counters of a killed
worker stay there. https://prometheus.github.io/client_python/multiprocess/
"""

import asyncio
import logging
import os
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    make_wsgi_app,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from wss.observability.build import REVISION, VERSION
from wss.observability.process_metrics import ProcessMetrics

log = logging.getLogger("wss.metrics")

# Seconds between two updates of what changes with every message and every client: written one by one, the counts of a
# client would take a twentieth of its time.
UPDATE_INTERVAL = 1.0
# Seconds of event loop lag from which on it is logged.
LOGGED_LAG = 1.0
# One in this many messages is timed, because timing costs time, too.
SAMPLED_ONE_IN = 64

_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Traffic:
    """Messages and bytes of payload, in both directions."""

    __slots__ = ("bytes_in", "bytes_out", "messages_in", "messages_out")

    def __init__(self) -> None:
        self.messages_in = self.bytes_in = self.messages_out = self.bytes_out = 0

    def add(self, other: "Traffic") -> None:
        self.messages_in += other.messages_in
        self.bytes_in += other.bytes_in
        self.messages_out += other.messages_out
        self.bytes_out += other.bytes_out

    def as_dict(self) -> dict[str, int]:
        return {
            "messages_in": self.messages_in,
            "bytes_in": self.bytes_in,
            "messages_out": self.messages_out,
            "bytes_out": self.bytes_out,
        }


class Metrics:
    """The metrics of one worker."""

    def __init__(self, max_connections: int) -> None:
        registry = CollectorRegistry()  # not scraped: the supervisor reads the files
        self.process = ProcessMetrics(registry)
        self.opened_so_far = 0
        self._open_traffic: set[Traffic] = set()
        self._closed_traffic = Traffic()  # the sum of all closed connections
        self._counted = Traffic()  # what the counters include so far
        self._increments: defaultdict[Counter, int] = defaultdict(int)  # what they do not include yet
        self._handshake_times: list[float] = []
        self._certificate: Gauge | None = None
        self._renewal: Gauge | None = None
        self._hub: _Hub | None = None
        self._workers = Gauge("wss_workers", "Worker processes", registry=registry, multiprocess_mode="livesum")
        self._workers.set(1)
        self._build = Gauge(
            "wss_build_info",
            "Always 1; the labels are the version of the server, and the commit that it was built from",
            ["version", "revision"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._build.labels(VERSION, REVISION).set(1)
        self._open = Gauge("wss_connections_open", "Open WebSockets", registry=registry, multiprocess_mode="livesum")
        limit = Gauge(
            "wss_connections_limit",
            "WebSockets that may be open: MAX_CONNECTIONS of all workers",
            registry=registry,
            multiprocess_mode="livesum",
        )
        limit.set(max_connections)
        self._draining = Gauge(
            "wss_connections_draining",
            "Open WebSockets that are to leave: their worker or their proxy stops",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._opened = Counter("wss_connections_opened", "WebSockets opened", registry=registry)
        self._paths = Counter(
            "wss_path_connections_opened",
            "WebSockets opened, by the route of the handler, or the entry of WS_PATHS",
            ["path"],
            registry=registry,
        )
        self._closed = Counter(
            "wss_connections_closed",
            "WebSockets closed, and the side that closed first",
            ["code", "by"],
            registry=registry,
        )
        self._refused = Counter(
            "wss_connections_refused",
            "Connections refused before they became a WebSocket",
            ["reason"],
            registry=registry,
        )
        self._too_much = Counter(
            "wss_connections_over_rate",
            "Connections whose clients exceeded MESSAGE_RATE or BYTE_RATE: slowed, or closed",
            ["setting", "action"],
            registry=registry,
        )
        self._messages = Counter("wss_messages", "Messages", ["direction"], registry=registry)
        self._bytes = Counter("wss_bytes", "Payload bytes of messages", ["direction"], registry=registry)
        self._handshake = Histogram(
            "wss_handshake_seconds",
            "Time from accept to the 101 response, including TLS",
            registry=registry,
            buckets=_BUCKETS,
        )
        self._message = Histogram(
            "wss_message_seconds",
            f"Time from receiving a message until the handler requests the next one (one in {SAMPLED_ONE_IN} is timed)",
            registry=registry,
            buckets=_BUCKETS,
        )
        self._lag = Histogram(
            "wss_event_loop_lag_seconds", "Delay of a timer of the event loop", registry=registry, buckets=_BUCKETS
        )
        self._registry = registry
        # labels() costs as much as an increment, and each new client needs several.
        self._child = cache(Counter.labels)
        self.flush()  # so that the series exist, as zero, before the first message

    def opened(self, seconds: float, traffic: Traffic, path: str) -> None:
        """Count a WebSocket that opened `seconds` after accept. The connection updates `traffic` until it is closed.

        `path` is a label: one of few, not what a client sent.
        """
        self._open_traffic.add(traffic)
        self.opened_so_far += 1
        self._increments[self._opened] += 1
        self._increments[self._child(self._paths, path)] += 1
        self._handshake_times.append(seconds)

    def closed(self, code: int, by: str, traffic: Traffic) -> None:
        self._open_traffic.discard(traffic)
        self._closed_traffic.add(traffic)
        # Applications choose codes from 3000 (RFC 6455 section 7.4.2) freely: 2000 series would be too many.
        self._increments[self._child(self._closed, str(code) if code < 3000 else f"{code // 1000}xxx", by)] += 1

    def draining(self, number: int) -> None:
        """Record how many open connections are to leave."""
        self._draining.set(number)

    def refused(self, reason: str) -> None:
        self._refused.labels(reason).inc()

    def sends_too_much(self, setting: str, action: str) -> None:
        self._too_much.labels(setting, action).inc()

    def handled(self, seconds: float) -> None:
        """Record how long the handler took for a message."""
        self._message.observe(seconds)

    def hub(self, *, up: bool) -> None:
        """Record whether the hub is connected. The metrics of the hub exist from the first call on."""
        if self._hub is None:
            self._hub = _Hub(self._registry)
        self._hub.up.set(up)

    def hub_messages(self, direction: str, number: int = 1) -> None:
        if self._hub:
            self._hub.messages.labels(direction).inc(number)

    def hub_lost(self, number: int) -> None:
        """Count messages that did not reach the hub."""
        if self._hub:
            self._hub.lost.inc(number)

    def certificate_expires(self, when: float) -> None:
        """Record when the certificate expires: `when` in seconds since 1970."""
        if self._certificate is None:  # not earlier: 0 would be an alarm
            self._certificate = Gauge(
                "wss_certificate_expiry_timestamp_seconds",
                "When the certificate expires, in seconds since 1970",
                registry=self._registry,
                multiprocess_mode="livemin",
            )
        self._certificate.set(when)

    def renewal_fails(self, fails: bool) -> None:
        """Record whether the certificate service reports an error."""
        if self._renewal is None:
            self._renewal = Gauge(
                "wss_certificate_renewal_failing",
                "1 if the certificate service cannot publish a new pair: its log has the reason",
                registry=self._registry,
                multiprocess_mode="livemax",
            )
        self._renewal.set(fails)

    async def run(self) -> None:
        """Measure the lag of the event loop, and write the counts, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + UPDATE_INTERVAL
            await asyncio.sleep(UPDATE_INTERVAL)
            lag = max(loop.time() - due, 0.0)
            self._lag.observe(lag)
            if lag > LOGGED_LAG:
                log.warning(
                    "the event loop was blocked for at least %.1f s: a handler blocks it, or the machine is overloaded",
                    lag,
                )
            self.flush()

    def traffic(self) -> Traffic:
        """Return the traffic of all connections, including closed ones."""
        total = Traffic()
        for traffic in (self._closed_traffic, *self._open_traffic):
            total.add(traffic)
        return total

    def flush(self) -> None:
        """Write what was counted since the last call."""
        self._open.set(len(self._open_traffic))
        for each, number in self._increments.items():
            each.inc(number)
        self._increments.clear()
        for seconds in self._handshake_times:
            self._handshake.observe(seconds)
        self._handshake_times.clear()
        now = self.traffic()
        for direction in ("in", "out"):
            for counter, name in ((self._messages, f"messages_{direction}"), (self._bytes, f"bytes_{direction}")):
                counter.labels(direction).inc(getattr(now, name) - getattr(self._counted, name))
        self._counted = now
        self.process.update()


class _Hub:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.up = Gauge(
            "wss_hub_up", "1 if all workers are connected to the hub", registry=registry, multiprocess_mode="livemin"
        )
        self.messages = Counter(
            "wss_hub_messages", "Messages sent to and received from the hub", ["direction"], registry=registry
        )
        self.lost = Counter("wss_hub_messages_lost", "Messages that did not reach the hub", registry=registry)


def store_in(directory: Path, worker: int) -> None:
    """Store the metrics of this process in files in the directory. Call it before any metric is created.

    `worker` is a number that is unique among the living processes; the files of its last owner are continued.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]


def mark_dead(directory: Path, worker: int) -> None:
    """Exclude the gauges of a dead worker, such as open connections, from the sums."""
    mark_process_dead(worker, str(directory))  # type: ignore[no-untyped-call]


class ServedMetrics:
    """What a scrape returns: the sums over all workers, and what only their main process can count.

    `directory` is where the workers store their metrics.
    """

    def __init__(self, directory: Path) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # as those of the workers, which have none
        self._registry = CollectorRegistry()
        MultiProcessCollector(self._registry, str(directory))  # type: ignore[no-untyped-call]
        # A worker that crashes soon after its start is in no scrape.
        self._worker_exits = Counter(
            "wss_worker_exits", "Workers that exited although nothing stopped them", registry=self._registry
        )

    def worker_exited(self) -> None:
        self._worker_exits.inc()

    def wsgi_app(self) -> Any:
        """Return the application that serves them."""
        return make_wsgi_app(self._registry)
