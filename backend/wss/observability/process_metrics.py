"""Metrics of a worker as a process: memory, open files, start, and the lines that it logs."""

import logging
import resource
import time
from functools import cache
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge

_OPEN_FILES = Path("/proc/self/fd")


class ProcessMetrics:
    """The metrics of this process. The label `pid` is the number of the worker, which its successor keeps."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._memory = Gauge(
            "wss_memory_bytes", "Resident memory of a worker", registry=registry, multiprocess_mode="liveall"
        )
        self._open_files = Gauge(
            "wss_open_files", "Open file descriptors of a worker", registry=registry, multiprocess_mode="liveall"
        )
        limit = Gauge(
            "wss_open_files_limit",
            "File descriptors that a worker may have open",
            registry=registry,
            multiprocess_mode="liveall",
        )
        limit.set(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        started = Gauge(
            "wss_start_time_seconds",
            "When the newest worker started, in seconds since 1970",
            registry=registry,
            multiprocess_mode="livemax",
        )
        started.set(time.time())
        self._logged = Counter("wss_log_messages", "Lines that a worker logged", ["level"], registry=registry)
        self.log_counter = _LogCounter(self._logged)
        self.update()

    def update(self) -> None:
        """Measure this process."""
        self._memory.set(resident_memory())
        self._open_files.set(_open_files())


class _LogCounter(logging.Handler):
    """Counts log records by level."""

    def __init__(self, counter: Counter) -> None:
        super().__init__()
        self._of = cache(counter.labels)

    def emit(self, record: logging.LogRecord) -> None:
        self._of(record.levelname.lower()).inc()


def resident_memory() -> int:
    """Return the resident memory of this process, in bytes: proc_pid_statm(5)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _open_files() -> int:
    # Since Linux 6.2 it is the size of the directory; before, that is 0, and a listing is slow with 10,000 connections.
    return _OPEN_FILES.stat().st_size or sum(1 for _ in _OPEN_FILES.iterdir())
