"""What a worker counts, for Prometheus.

The workers write into files of RUN_DIR, from which the parent adds them up whenever it is asked; a worker that is
killed leaves its counts there. https://prometheus.github.io/client_python/multiprocess/
"""

import asyncio
import logging
import os
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

log = logging.getLogger("wss.metrics")

# Seconds between two looks at what changes too often to be told each time.
INTERVAL = 1.0
# Seconds that a timer of the event loop is late, to be said in the log.
STANDSTILL = 1.0
# Of so many messages, one is timed: all would cost more than it is worth.
SAMPLED_ONE_IN = 64

_FINE = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Traffic:
    """Messages, and bytes of their contents, in both directions."""

    __slots__ = ("bytes_in", "bytes_out", "messages_in", "messages_out")

    def __init__(self) -> None:
        self.messages_in = self.bytes_in = self.messages_out = self.bytes_out = 0

    def add(self, other: "Traffic") -> None:
        self.messages_in += other.messages_in
        self.bytes_in += other.bytes_in
        self.messages_out += other.messages_out
        self.bytes_out += other.bytes_out

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in ("messages_in", "bytes_in", "messages_out", "bytes_out")}


class Metrics:
    """The numbers of one worker."""

    def __init__(self) -> None:
        registry = CollectorRegistry()  # nobody asks it: the parent reads the files
        self.opened_so_far = 0
        self._running: set[Traffic] = set()  # of those that are open
        self._ended = Traffic()  # of all connections that are closed
        self._told = Traffic()  # what the counters have
        self._certificate: Gauge | None = None
        self._hub: _Hub | None = None
        self._workers = Gauge("wss_workers", "Workers", registry=registry, multiprocess_mode="livesum")
        self._workers.set(1)
        self._open = Gauge("wss_connections_open", "Open WebSockets", registry=registry, multiprocess_mode="livesum")
        self._opened = Counter("wss_connections_opened", "WebSockets that were opened", registry=registry)
        self._closed = Counter(
            "wss_connections_closed", "WebSockets that ended, and who closed them", ["code", "by"], registry=registry
        )
        self._refused = Counter(
            "wss_connections_refused", "Connections that did not become a WebSocket", ["reason"], registry=registry
        )
        self._messages = Counter("wss_messages", "Messages", ["direction"], registry=registry)
        self._bytes = Counter("wss_bytes", "Bytes of the contents of messages", ["direction"], registry=registry)
        self._handshake = Histogram(
            "wss_handshake_seconds", "From accept, TLS included, to the 101", registry=registry, buckets=_FINE
        )
        self._message = Histogram(
            "wss_message_seconds",
            f"From a message's arrival until its handler asks for the next one (of one in {SAMPLED_ONE_IN})",
            registry=registry,
            buckets=_FINE,
        )
        self._lag = Histogram(
            "wss_event_loop_lag_seconds", "How late a timer of the event loop is", registry=registry, buckets=_FINE
        )
        self._registry = registry
        self.flush()  # so that there is a zero, and not nothing, until the first message

    def opened(self, seconds: float, traffic: Traffic) -> None:
        """Count a WebSocket that took `seconds` from accept, and that will count its traffic itself."""
        self._running.add(traffic)
        self.opened_so_far += 1
        self._opened.inc()
        self._open.inc()
        self._handshake.observe(seconds)

    def closed(self, code: int, by: str, traffic: Traffic) -> None:
        self._running.discard(traffic)
        self._ended.add(traffic)
        # What is free for applications (RFC 6455 section 7.4.2) is theirs to choose: 2000 series would be too many.
        self._closed.labels(str(code) if code < 3000 else f"{code // 1000}xxx", by).inc()
        self._open.dec()

    def refused(self, reason: str) -> None:
        self._refused.labels(reason).inc()

    def handled(self, seconds: float) -> None:
        """Count a message that was timed."""
        self._message.observe(seconds)

    def hub(self, *, up: bool) -> None:
        """Tell whether the hub answers."""
        if self._hub is None:  # there is a hub
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
        """Tell when the certificate that clients get expires: seconds since 1970."""
        if self._certificate is None:  # from the first time on: 0 would be an alarm
            self._certificate = Gauge(
                "wss_certificate_expiry_timestamp_seconds",
                "When the certificate expires, in seconds since 1970",
                registry=self._registry,
                multiprocess_mode="livemin",
            )
        self._certificate.set(when)

    async def keep(self) -> None:
        """Watch the loop, and pass on what the open connections counted themselves, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + INTERVAL
            await asyncio.sleep(INTERVAL)
            late = max(loop.time() - due, 0.0)
            self._lag.observe(late)
            if late > STANDSTILL:
                log.warning(
                    "nothing was served for %.1f s at least: a handler blocks its worker, or the machine is too busy",
                    late,
                )
            self.flush()

    def traffic(self) -> Traffic:
        """Return what all connections counted, those that are closed too."""
        total = Traffic()
        for traffic in (self._ended, *self._running):
            total.add(traffic)
        return total

    def flush(self) -> None:
        """Pass on the traffic since the last time."""
        now = self.traffic()
        for direction in ("in", "out"):
            for counter, name in ((self._messages, f"messages_{direction}"), (self._bytes, f"bytes_{direction}")):
                counter.labels(direction).inc(getattr(now, name) - getattr(self._told, name))
        self._told = now


class _Hub:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.up = Gauge(
            "wss_hub_up", "Whether the hub answers every worker", registry=registry, multiprocess_mode="livemin"
        )
        self.messages = Counter("wss_hub_messages", "Messages to and from the hub", ["direction"], registry=registry)
        self.lost = Counter("wss_hub_messages_lost", "Messages that did not reach the hub", registry=registry)


def write_into(directory: Path, worker: int) -> None:
    """Make the metrics of this process files of the directory; to be called before there are any.

    `worker` is a number that no other living process has; the files of the last one that had it are continued.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]


def forget(directory: Path, worker: int) -> None:
    """Stop adding up what only a living worker has, such as open connections."""
    mark_process_dead(worker, str(directory))  # type: ignore[no-untyped-call]


def serve(directory: Path, port: int) -> Any:
    """Serve the sum of all workers on a port, from a thread; return the server. Raises OSError where it is taken."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(directory))  # type: ignore[no-untyped-call]
    server, _ = start_http_server(port, registry=registry)
    return server
