"""The CPU time and the memory of a container."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Usage:
    """Reads the files of the container's cgroup, which takes microseconds; or asks Docker, if its host is another."""

    engine: docker.DockerClient
    container: str
    directories: dict[str, Path]
    """Of its cgroup, by controller; empty if they cannot be read."""

    def cpu(self) -> float:
        """Return the CPU seconds used so far."""
        if not self.directories:
            return float(self._stats()["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9
        file = self.directories["cpuacct"] / "cpuacct.usage"
        if file.exists():  # cgroup v1
            return int(file.read_text()) / 1e9
        return _fields(self.directories["cpuacct"] / "cpu.stat")["usage_usec"] / 1e6

    def memory(self) -> int:
        """Return the anonymous memory in bytes. It does not include the kernel's socket buffers."""
        figures = _fields(self.directories["memory"] / "memory.stat") if self.directories else None
        figures = figures or self._stats()["memory_stats"]["stats"]
        # cgroup v2, v1.
        return int(figures.get("anon", figures.get("rss", 0)))

    def _stats(self) -> Any:
        return self.engine.api.stats(self.container, stream=False, one_shot=True)


def usage_of(engine: docker.DockerClient, container: str) -> Usage:
    pid = engine.containers.get(container).attrs["State"]["Pid"]
    return Usage(engine, container, _directories(Path("/proc") / str(pid) / "cgroup", container))


def _directories(file: Path, container: str) -> dict[str, Path]:
    """Return the directories of the controllers cpuacct and memory (cgroups(7): /proc/pid/cgroup)."""
    try:
        lines = [line.split(":", 2) for line in file.read_text().splitlines()]
    except OSError:
        return {}
    v2 = [CGROUPS / path[1:] for _, controllers, path in lines if not controllers]
    found = {}
    for name in ("cpuacct", "memory"):
        v1 = [CGROUPS / names / path[1:] for _, names, path in lines if name in names.split(",")]
        found[name] = (v1 or v2 or [Path()])[0]
    # Only if it is the container's: the process of that number may be one of another host.
    return found if all(container in each.name and each.is_dir() for each in found.values()) else {}


def _fields(file: Path) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in file.read_text().splitlines())}
