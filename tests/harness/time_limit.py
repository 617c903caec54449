"""Time limits relative to the machine's speed: on a busy machine everything takes longer."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

# Seconds of CPU: several time slices of the kernel's scheduler.
SAMPLE = 0.05


def slowness() -> float:
    """Return how many seconds one CPU second of a thread takes now; 1 on an idle machine."""
    started, cpu_started = time.monotonic(), time.thread_time()
    while time.thread_time() - cpu_started < SAMPLE:
        pass
    return max(1.0, (time.monotonic() - started) / SAMPLE)


@contextmanager
def time_limit(seconds: float, what: str) -> Iterator[None]:
    """Fail if the context takes longer than `seconds`, which are multiplied by the slowness of the machine."""
    before, started = slowness(), time.monotonic()
    yield
    elapsed = time.monotonic() - started
    factor = max(before, slowness())
    assert elapsed < seconds * factor, f"{what}: {elapsed:.1f} s, limit {seconds:g} s x {factor:.1f} (slow machine)"
