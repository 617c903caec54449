"""Promises of seconds, measured relative to the machine: a busy one takes longer for everything."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

# Seconds of CPU: a few turns of the kernel's scheduler.
SAMPLE = 0.05


def slowness() -> float:
    """Return how many seconds this machine takes now for one second of work in one thread; 1 if it is idle."""
    started, begun = time.monotonic(), time.thread_time()
    while time.thread_time() - begun < SAMPLE:
        pass
    return max(1.0, (time.monotonic() - started) / SAMPLE)


@contextmanager
def promise(seconds: float, what: str) -> Iterator[None]:
    """Fail if what happens in the context takes longer than promised, as a quiet machine would count the seconds."""
    before, started = slowness(), time.monotonic()
    yield
    elapsed = time.monotonic() - started
    factor = max(before, slowness())
    assert elapsed < seconds * factor, f"{what}: {elapsed:.1f} s instead of {seconds:g}, on a machine {factor:.1f} slow"
