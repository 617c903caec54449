"""The main process: starts the workers, replaces those that exit, and forwards signals to them.

SIGTERM and SIGINT stop it; a second one ends STOP_DRAIN, and the next one kills the workers at once. SIGHUP replaces
all workers: the new ones serve before the old ones close their clients with 1012, so that no connection attempt fails
in between.
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

from wss.config.environment import SettingError
from wss.config.settings import Settings
from wss.net.listener import listening_socket
from wss.observability.control_socket import socket_path, socket_paths
from wss.observability.metrics import ServedMetrics, mark_dead
from wss.process.reload import modified, watch
from wss.process.worker_environment import WorkerEnvironment

log = logging.getLogger("wss.supervisor")

# Seconds: the pause before a restart, if the worker exited within this time after its start.
CRASH_PAUSE = 1.0
# Seconds, after STOP_DRAIN, until a worker is killed: longer than it needs, shorter than Compose's stop_grace_period.
STOP_TIMEOUT = 14.0
# Max open files of a worker; each connection takes one. A larger table would cost kernel memory.
MAX_FILES = 65536


class Supervisor:
    """Keeps `settings.workers` workers running until it is stopped.

    Each worker has its own listening socket on the common port (SO_REUSEPORT). The supervisor keeps these sockets open,
    so that a new worker serves the clients in the accept queue of the old one.
    """

    def __init__(self, settings: Settings, metrics: ServedMetrics) -> None:
        assert settings.run_dir
        self._metrics = metrics
        self._run_dir = settings.run_dir
        self._metrics_port = settings.metrics_port
        first = listening_socket(settings.port)
        port = first.getsockname()[1]
        sockets = [first, *(listening_socket(port) for _ in range(settings.workers - 1))]
        self._current: dict[socket.socket, Process | None] = dict.fromkeys(sockets)
        self._monitoring = asyncio.TaskGroup()
        # All living workers with their numbers, including replaced ones that still drain.
        self._workers: dict[Process, int] = {}
        self._ready: set[Process] = set()  # the workers that have reported ready
        self._numbers: set[int] = set()  # of living workers, and of those that are being started
        self._replacing: asyncio.Task[None] | None = None
        self._reload = settings.reload
        self._watching: asyncio.Task[None] | None = None
        self._replace_again = False
        self._drain = settings.stop_drain
        self._stopping = asyncio.Event()
        self._failed = False

    async def run(self) -> int:
        """Return the exit code: 0 after a graceful stop, 1 if a worker could not start or not stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.replace)
        _raise_file_limit()
        loaded = modified(Path.cwd()) if self._reload else {}
        # Start the first worker alone, so that an error in the settings is logged once and ends the start.
        first, *others = self._current
        async with self._monitoring:
            self._current[first] = await self._start(first)
            if self._current[first] is None:
                return 0 if self._stopping.is_set() else 1
            for sock in others:
                self._monitoring.create_task(self._respawn(sock))
            if self._reload and not self._stopping.is_set():
                self._watching = self._monitoring.create_task(watch(Path.cwd(), loaded, self.replace))
        return 1 if self._failed else 0

    def replace(self) -> None:
        """Replace all workers, one after the other; keep the old ones if a new one cannot start.

        A call during a replacement starts another one after it: the workers that are new may not have the last change.
        """
        self._replace_again = self._replacing is not None and not self._replacing.done()
        if not self._replace_again:
            self._replacing = self._monitoring.create_task(self._replace())

    async def _replace(self) -> None:
        await self._replace_once()
        while self._replace_again and not self._stopping.is_set():
            self._replace_again = False
            await self._replace_once()

    async def _replace_once(self) -> None:
        for sock, old in self._current.items():
            if old is None:
                continue  # a new worker is being started already
            new = await self._start(sock)
            if new is None:
                if not self._stopping.is_set():
                    log.error("no new worker could start: keeping the old workers")
                return
            if self._current[sock] is not old:  # the old one exited meanwhile, and was replaced
                self._terminate(new, signal.SIGTERM)
                continue
            self._current[sock] = new
            self._terminate(old, signal.SIGHUP)
            log.info("worker %d replaces worker %d", new.pid, old.pid)

    def stop(self) -> None:
        """Release the port and signal every worker to drain and exit.

        A second call ends STOP_DRAIN, and the next one kills the workers.
        """
        if self._stopping.is_set():
            self._hurry()
            return
        self._stopping.set()
        if self._watching:
            self._watching.cancel()
        for sock in self._current:
            sock.close()
        for worker in self._workers:
            self._terminate(worker, signal.SIGTERM)

    def _hurry(self) -> None:
        if not self._drain:
            self._kill(*self._workers)
            return
        self._drain = 0
        for worker in self._workers:
            self._terminate(worker, signal.SIGUSR1)

    def _terminate(self, worker: Process, signal_: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it has just exited
            worker.send_signal(signal_)
        asyncio.get_running_loop().call_later(self._drain + STOP_TIMEOUT, self._kill, worker)

    def _kill(self, *workers: Process) -> None:
        for worker in workers:
            if worker in self._workers:  # still running
                log.error("killing worker %d: it has not exited yet", worker.pid)
                with suppress(ProcessLookupError):
                    worker.kill()

    async def _respawn(self, sock: socket.socket) -> None:
        """Start workers on a socket until one is ready, or until a stop."""
        while not self._stopping.is_set():
            started = asyncio.get_running_loop().time()
            self._current[sock] = await self._start(sock)
            if self._current[sock]:
                return
            await self._pause(started)

    async def _monitor(self, sock: socket.socket, worker: Process) -> None:
        """Wait until a worker exits. Start another one unless it was replaced, or the supervisor stops."""
        started = asyncio.get_running_loop().time()
        code = await worker.wait()
        was_ready = worker in self._ready
        self._forget(worker)
        if self._stopping.is_set():
            # The signal came after the drain, when the worker no longer handled it.
            self._failed |= was_ready and code not in (0, -signal.SIGTERM, -signal.SIGUSR1)
        elif worker is self._current[sock]:
            log.error("worker %d exited with %d: starting another", worker.pid, code)
            self._metrics.worker_exited()
            self._current[sock] = None
            await self._pause(started)
            await self._respawn(sock)
        elif not was_ready:
            self._metrics.worker_exited()

    async def _pause(self, started: float) -> None:
        """Wait for CRASH_PAUSE if the last start was recent; a stop ends the wait."""
        if asyncio.get_running_loop().time() - started < CRASH_PAUSE:
            with suppress(TimeoutError):
                async with asyncio.timeout(CRASH_PAUSE):
                    await self._stopping.wait()

    async def _start(self, sock: socket.socket) -> Process | None:
        """Start a worker on the socket. Return it once it is ready, or None if it exits first or a stop forbids it."""
        if self._stopping.is_set():
            return None
        try:
            ready_read, ready_write = os.pipe()
        except OSError as error:  # too many open files: the running workers continue
            log.error("cannot start a worker: %s", error)
            return None
        number = next(number for number in itertools.count(1) if number not in self._numbers)
        self._numbers.add(number)
        passed = WorkerEnvironment(
            number=number,
            ready_fd=ready_write,
            socket_fd=sock.fileno(),
            run_dir=self._run_dir,
            metrics_port=self._metrics_port,
        )
        try:
            worker = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "wss.process.worker"),
                stdin=asyncio.subprocess.PIPE,
                env={**os.environ, **passed.to_environment()},
                pass_fds=[passed.ready_fd, passed.socket_fd],
            )
        except OSError as error:  # too many processes
            log.error("cannot start a worker: %s", error)
            os.close(ready_read)
            self._numbers.discard(number)
            return None
        finally:
            os.close(ready_write)
        self._workers[worker] = number
        monitor = self._monitoring.create_task(self._monitor(sock, worker))
        if self._stopping.is_set():
            self._terminate(worker, signal.SIGTERM)
        if await _first_byte(ready_read) and not monitor.done():
            self._ready.add(worker)
            return worker
        await monitor
        return None

    def _forget(self, worker: Process) -> None:
        self._ready.discard(worker)
        number = self._workers.pop(worker, None)
        if number is None:
            return
        self._numbers.discard(number)
        mark_dead(self._run_dir, number)
        socket_path(self._run_dir, number).unlink(missing_ok=True)


@contextmanager
def run_directory(wanted: Path | None) -> Iterator[Path]:
    """Prepare the directory for control sockets and metrics files; by default, a temporary one.

    Raises SettingError if this fails.
    """
    if wanted is None:
        with tempfile.TemporaryDirectory(prefix="wss-") as temporary:
            yield Path(temporary)
        return
    try:
        wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
        for stale in (*wanted.glob("*.db"), *socket_paths(wanted)):
            stale.unlink()
    except OSError as error:
        raise SettingError(f"RUN_DIR={str(wanted)!r}: {error}. Give a writable directory") from None
    yield wanted


def _raise_file_limit() -> None:
    """Raise the soft limit of open files up to MAX_FILES or the hard limit; the workers inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


async def _first_byte(descriptor: int) -> bytes:
    """Return the first byte from the pipe, or nothing if the other end was closed."""
    loop = asyncio.get_running_loop()
    readable = loop.create_future()
    loop.add_reader(descriptor, readable.set_result, None)
    try:
        await readable
    finally:
        loop.remove_reader(descriptor)
    with os.fdopen(descriptor, "rb", buffering=0) as pipe:
        return pipe.read(1)
