"""The process that Docker starts: runs the workers, replaces dead ones, hands on the signal to stop."""

import asyncio
import logging
import os
import resource
import signal
import sys
from asyncio.subprocess import Process
from contextlib import suppress

from wss.settings import Settings

log = logging.getLogger("wss.parent")

# A worker that dies earlier than this after its start is replaced only after this pause (seconds).
CRASH_PAUSE = 1.0
# Seconds that a worker has to end after it was told to: longer than its own drain, shorter than Compose waits.
STOP_TIMEOUT = 14.0
# Descriptors that a worker may use at most: one for each connection. The kernel pays for a larger table.
MOST_FILES = 65536


class Parent:
    """Keeps `settings.workers` workers running until told to stop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._workers: set[Process] = set()
        self._stopping = asyncio.Event()
        self._failed = False

    async def run(self) -> int:
        """Return the exit code: 0 after an orderly stop, 1 where a worker could not start or not stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stop)
        _raise_file_limit()
        # The first one alone: what is wrong with the settings is said once, and nothing starts half.
        first = await self._start()
        if first is None:
            return 0 if self._stopping.is_set() else 1
        rest = self._settings.workers - 1
        await asyncio.gather(self._keep(first), *(self._keep(None) for _ in range(rest)))
        return 1 if self._failed else 0

    def stop(self) -> None:
        """Tell every worker to drain and end; one that does not is killed."""
        self._stopping.set()
        self._signal_workers(signal.SIGTERM)
        asyncio.get_running_loop().call_later(STOP_TIMEOUT, self._signal_workers, signal.SIGKILL)

    def _signal_workers(self, number: signal.Signals) -> None:
        for worker in self._workers:
            if number == signal.SIGKILL:
                log.error("worker %d did not end within %.0f s: killed", worker.pid, STOP_TIMEOUT)
            with suppress(ProcessLookupError):  # it ended this very moment
                worker.send_signal(number)

    async def _keep(self, worker: Process | None) -> None:
        """Wait for the worker to end and start another, until told to stop."""
        loop = asyncio.get_running_loop()
        while worker or not self._stopping.is_set():
            started = loop.time()
            worker = worker or await self._start()
            if worker:
                code = await worker.wait()
                self._workers.discard(worker)
                if self._stopping.is_set():
                    self._failed |= code != 0
                    return
                log.error("worker %d ended with %d: starting another", worker.pid, code)
                worker = None
            if loop.time() - started < CRASH_PAUSE:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), CRASH_PAUSE)

    async def _start(self) -> Process | None:
        """Start a worker; return it when its port is open, or None where it ended before."""
        ready, tell = os.pipe()
        environment = {**os.environ, "WSS_READY_FD": str(tell)}
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "wss.worker", stdin=asyncio.subprocess.PIPE, env=environment, pass_fds=[tell]
        )
        os.close(tell)
        self._workers.add(worker)
        if self._stopping.is_set():
            with suppress(ProcessLookupError):
                worker.terminate()
        if await _first_byte(ready):
            return worker
        await worker.wait()
        self._workers.discard(worker)
        return None


def _raise_file_limit() -> None:
    """Raise the soft limit of open files as far as the hard one allows; the workers inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


async def _first_byte(descriptor: int) -> bytes:
    """Return the first byte from the pipe, or nothing where its other end was closed."""
    loop = asyncio.get_running_loop()
    readable = loop.create_future()
    loop.add_reader(descriptor, readable.set_result, None)
    try:
        await readable
    finally:
        loop.remove_reader(descriptor)
    with os.fdopen(descriptor, "rb", buffering=0) as pipe:
        return pipe.read(1)
