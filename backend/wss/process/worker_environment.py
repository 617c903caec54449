"""The environment variables through which the supervisor configures a worker."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_NUMBER, _READY_FD, _SOCKET_FD = "WSS_WORKER", "WSS_READY_FD", "WSS_SOCKET_FD"
# Settings of the server, which the supervisor sets to the actual values.
_RUN_DIR, _METRICS_PORT = "RUN_DIR", "METRICS_PORT"


@dataclass(frozen=True)
class WorkerEnvironment:
    """What a worker gets besides the settings of the server."""

    number: int
    """Unique among the living workers."""
    ready_fd: int
    """The write end of the ready pipe: the worker writes one byte when it serves."""
    socket_fd: int
    """The listening socket."""
    run_dir: Path
    metrics_port: int

    def to_environment(self) -> dict[str, str]:
        return {
            _NUMBER: str(self.number),
            _READY_FD: str(self.ready_fd),
            _SOCKET_FD: str(self.socket_fd),
            _RUN_DIR: str(self.run_dir),
            _METRICS_PORT: str(self.metrics_port),
        }

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "WorkerEnvironment":
        return cls(
            number=int(environment[_NUMBER]),
            ready_fd=int(environment[_READY_FD]),
            socket_fd=int(environment[_SOCKET_FD]),
            run_dir=Path(environment[_RUN_DIR]),
            metrics_port=int(environment[_METRICS_PORT]),
        )
