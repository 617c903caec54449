"""One run of the suite: all that it creates carries its name, and is removed after its last process has ended.

Every process of the run holds a shared lock, and so does each `docker compose` that it starts. A separate process, the
reaper, waits for the exclusive lock, which it gets even if the run was killed.
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

TIMEOUT = 180  # seconds that a busy engine may need to answer
RUN = "E2E_RUN"  # an environment variable: all processes of a run inherit the same value


class Run:
    """The run that this process belongs to."""

    def __init__(self) -> None:
        self.name = f"wss-e2e-{os.environ.setdefault(RUN, secrets.token_hex(4))}"
        self.directory = Path(tempfile.gettempdir()) / self.name
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self._file = (self.directory / "alive").open("w")
        fcntl.flock(self._file, fcntl.LOCK_SH)
        self._reaper: subprocess.Popen[bytes] | None = None

    @property
    def lock(self) -> int:
        """The file descriptor of the lock, for child processes that create Docker objects."""
        return self._file.fileno()

    def start_reaper(self, *, keep: bool) -> None:
        """Start the process that removes everything after the run; with `keep` it removes only the run's directory."""
        # In a new session, so that Ctrl+C in the terminal does not stop it.
        command = [sys.executable, __file__, str(self.directory), *([] if keep else [self.name])]
        self._reaper = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def end(self) -> None:
        """Release the lock, and wait until the reaper has removed everything."""
        self._file.close()
        if self._reaper:
            self._reaper.wait()

    def once(self, what: str, do: Callable[[], object]) -> None:
        """Call `do` once per run; the other processes wait until it has returned."""
        done = self.directory / what
        with (self.directory / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not done.exists():
                do()
                done.touch()


def remove_all(prefix: str) -> None:
    """Remove all containers, networks, volumes and images whose names start with the prefix."""
    with (
        suppress(DockerException),
        closing(docker.from_env(timeout=TIMEOUT)) as engine,
    ):  # without an engine nothing was created
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
        # Untagged images, whose tag a later build of the run took over: Compose labels them with the project.
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
