"""One run of the suite: what it makes carries its name, and is removed when its last process ends, however that ends.

Every process of the run holds a shared lock, and so does each `docker compose` that it starts. The reaper, a process of
its own, waits for the exclusive lock: it gets that even if the run was killed.
"""

import fcntl
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException, NotFound

_RUN = "E2E_RUN"  # in the environment, and so the same in all processes of one run


class Run:
    """The run that this process belongs to."""

    def __init__(self) -> None:
        self.name = f"wss-e2e-{os.environ.setdefault(_RUN, secrets.token_hex(4))}"
        self.directory = Path(tempfile.gettempdir()) / self.name
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self._file = (self.directory / "alive").open("w")
        fcntl.flock(self._file, fcntl.LOCK_SH)
        self._reaper: subprocess.Popen[bytes] | None = None

    @property
    def lock(self) -> int:
        """The descriptor of the lock, for child processes that make something to be removed."""
        return self._file.fileno()

    def start_reaper(self, *, keep: bool) -> None:
        """Let everything be removed when the last process of the run has ended; `keep`: all but its directory."""
        # In a session of its own: what ends the run from a terminal does not end it.
        command = [sys.executable, __file__, str(self.directory), *([] if keep else [self.name])]
        self._reaper = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def end(self) -> None:
        """Leave the run, and wait until everything is removed."""
        self._file.close()
        if self._reaper:
            self._reaper.wait()

    def once(self, what: str, do: Callable[[], object]) -> None:
        """Do something once in the run; all other processes wait until it is done."""
        done = self.directory / what
        with (self.directory / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not done.exists():
                do()
                done.touch()


def remove_all(prefix: str) -> None:
    """Remove all containers, networks, volumes and images whose names begin so."""
    with suppress(DockerException), closing(docker.from_env()) as engine:  # without an engine there is nothing
        named: dict[str, Any] = {"name": prefix}
        while containers := engine.containers.list(all=True, ignore_removed=True, filters=named):
            for container in containers:
                with suppress(NotFound):
                    container.remove(force=True, v=True)
        for network in engine.networks.list(filters=named):
            network.remove()
        for volume in engine.volumes.list(filters=named):
            volume.remove()
        for image in engine.images.list(filters={"reference": f"{prefix}*"}):
            for tag in image.tags:
                engine.images.remove(tag, force=True)
        # Those whose tag another build of the run has taken over: Compose labels each with its project.
        for image in engine.images.list(filters={"dangling": True}):
            if image.labels.get("com.docker.compose.project", "").startswith(prefix):
                with suppress(NotFound):
                    engine.images.remove(str(image.id), force=True)


def _reap(directory: Path, *prefixes: str) -> None:
    with (directory / "alive").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for prefix in prefixes:
            remove_all(prefix)
        shutil.rmtree(directory)


if __name__ == "__main__":
    _reap(Path(sys.argv[1]), *sys.argv[2:])
