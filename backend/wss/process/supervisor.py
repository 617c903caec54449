"""The process that Docker starts: runs the workers, replaces dead ones, hands on what it is told.

SIGTERM and SIGINT stop it, a second one at once. SIGHUP replaces all workers: the new ones serve before the old ones
close their clients with 1012, and no connection is lost in between.
"""

import asyncio
import itertools
import logging
import os
import resource
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wss.config.settings import SettingError, Settings
from wss.net.listener import listening_socket
from wss.observability import metrics, status
from wss.process.reload import watch

log = logging.getLogger("wss.parent")

# A worker that dies earlier than this after its start is replaced only after this pause (seconds).
CRASH_PAUSE = 1.0
# Seconds that a worker has to end after it was told to: longer than its own drain, shorter than Compose waits.
STOP_TIMEOUT = 14.0
# Descriptors that a worker may use at most: one for each connection. The kernel pays for a larger table.
MOST_FILES = 65536


class Supervisor:
    """Keeps `settings.workers` workers running until told to stop.

    Each has a listening socket of its own on the common port (SO_REUSEPORT), which the parent keeps: clients that
    wait in its queue are served by the worker's successor.
    """

    def __init__(self, settings: Settings) -> None:
        assert settings.run_dir
        self._run_dir = settings.run_dir
        self._metrics_port = settings.metrics_port
        first = listening_socket(settings.port)
        port = first.getsockname()[1]
        sockets = [first, *(listening_socket(port) for _ in range(settings.workers - 1))]
        self._current: dict[socket.socket, Process | None] = dict.fromkeys(sockets)
        self._monitoring = asyncio.TaskGroup()
        # The number of each; those that were replaced and still drain, too.
        self._workers: dict[Process, int] = {}
        self._serving: set[Process] = set()  # those that did so once
        self._numbers: set[int] = set()  # those that are taken, by workers that are being started, too
        self._replacing: asyncio.Task[None] | None = None
        self._reload = settings.reload
        self._watching: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._failed = False

    async def run(self) -> int:
        """Return the exit code: 0 after an orderly stop, 1 where a worker could not start or not stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.replace)
        _raise_file_limit()
        # The first one alone: what is wrong with the settings is said once, and nothing starts half.
        first, *others = self._current
        async with self._monitoring:
            self._current[first] = await self._start(first)
            if self._current[first] is None:
                return 0 if self._stopping.is_set() else 1
            for sock in others:
                self._monitoring.create_task(self._respawn(sock))
            if self._reload and not self._stopping.is_set():
                self._watching = self._monitoring.create_task(watch(Path.cwd(), self.replace))
        return 1 if self._failed else 0

    def replace(self) -> None:
        """Replace all workers, one after the other; the old ones go on where a new one cannot start."""
        if self._replacing is None or self._replacing.done():
            self._replacing = self._monitoring.create_task(self._replace())

    async def _replace(self) -> None:
        for sock, old in self._current.items():
            if old is None:
                continue  # a new one is on its way already
            new = await self._start(sock)
            if new is None:
                if not self._stopping.is_set():
                    log.error("no new worker could start: the old ones go on")
                return
            if self._current[sock] is not old:  # it ended by itself meanwhile, and has a successor
                self._end(new, signal.SIGTERM)
                continue
            self._current[sock] = new
            self._end(old, signal.SIGHUP)
            log.info("worker %d replaces worker %d", new.pid, old.pid)

    def stop(self) -> None:
        """Release the port, tell every worker to drain and end; one that does not, or a second call, kills."""
        if self._stopping.is_set():
            self._kill(*self._workers)
            return
        self._stopping.set()
        if self._watching:
            self._watching.cancel()
        for sock in self._current:
            sock.close()
        for worker in self._workers:
            self._end(worker, signal.SIGTERM)

    def _end(self, worker: Process, how: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it ended this very moment
            worker.send_signal(how)
        asyncio.get_running_loop().call_later(STOP_TIMEOUT, self._kill, worker)

    def _kill(self, *workers: Process) -> None:
        for worker in workers:
            if worker in self._workers:  # still
                log.error("worker %d is killed: it had not ended yet", worker.pid)
                with suppress(ProcessLookupError):
                    worker.kill()

    async def _respawn(self, sock: socket.socket) -> None:
        """Start workers for a socket until one serves, or until told to stop."""
        while not self._stopping.is_set():
            started = asyncio.get_running_loop().time()
            self._current[sock] = await self._start(sock)
            if self._current[sock]:
                return
            await self._pause(started)

    async def _monitor(self, sock: socket.socket, worker: Process) -> None:
        """Wait for a worker to end; start another if nothing has taken its place, unless told to stop."""
        started = asyncio.get_running_loop().time()
        code = await worker.wait()
        served = worker in self._serving
        self._forget(worker)
        if self._stopping.is_set():
            # SIGTERM itself ends a worker only after it has drained.
            self._failed |= served and code not in (0, -signal.SIGTERM)
        elif worker is self._current[sock]:
            log.error("worker %d ended with %d: starting another", worker.pid, code)
            self._current[sock] = None
            await self._pause(started)
            await self._respawn(sock)

    async def _pause(self, started: float) -> None:
        """Wait before another start where the last one was a moment ago; a stop ends it."""
        if asyncio.get_running_loop().time() - started < CRASH_PAUSE:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), CRASH_PAUSE)

    async def _start(self, sock: socket.socket) -> Process | None:
        """Start a worker on the socket; return it when it serves, or None where it ended before, or must not start."""
        if self._stopping.is_set():
            return None
        try:
            ready, tell = os.pipe()
        except OSError as error:  # no more files: the workers that run go on
            log.error("cannot start a worker: %s", error)
            return None
        number = next(number for number in itertools.count(1) if number not in self._numbers)
        self._numbers.add(number)
        environment = {
            **os.environ,
            "RUN_DIR": str(self._run_dir),
            "METRICS_PORT": str(self._metrics_port),
            "WSS_WORKER": str(number),
            "WSS_READY_FD": str(tell),
            "WSS_SOCKET_FD": str(sock.fileno()),
        }
        try:
            worker = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "wss.process.worker"),
                stdin=asyncio.subprocess.PIPE,
                env=environment,
                pass_fds=[tell, sock.fileno()],
            )
        except OSError as error:  # no more processes
            log.error("cannot start a worker: %s", error)
            os.close(ready)
            self._numbers.discard(number)
            return None
        finally:
            os.close(tell)
        self._workers[worker] = number
        attending = self._monitoring.create_task(self._monitor(sock, worker))
        if self._stopping.is_set():
            self._end(worker, signal.SIGTERM)
        if await _first_byte(ready) and not attending.done():
            self._serving.add(worker)
            return worker
        await attending
        return None

    def _forget(self, worker: Process) -> None:
        self._serving.discard(worker)
        number = self._workers.pop(worker, None)
        if number is None:
            return
        self._numbers.discard(number)
        metrics.forget(self._run_dir, number)
        status.socket_path(self._run_dir, number).unlink(missing_ok=True)


@contextmanager
def run_directory(wanted: Path | None) -> Iterator[Path]:
    """Make an empty directory for what workers leave for others to read; by default one that vanishes at the end.

    Raises SettingError where that cannot be.
    """
    if wanted is None:
        with tempfile.TemporaryDirectory(prefix="wss-") as temporary:
            yield Path(temporary)
        return
    try:
        wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left_over in (*wanted.glob("*.db"), *wanted.glob("*.sock")):
            left_over.unlink()
    except OSError as error:
        raise SettingError(f"RUN_DIR={str(wanted)!r}: {error}. Give a directory that can be written to") from None
    yield wanted


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
