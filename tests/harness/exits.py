"""Exit codes of containers, from the engine's events: after `down` there is no container to inspect."""

import threading
from collections.abc import Iterable
from types import TracebackType

from docker.models.containers import Container
from eventually import eventually
from stack import Stack


class Exits:
    """Records the exit code of each container of the stack that exits inside the context.

    It subscribes before the command runs: the engine keeps 256 events for the whole machine, and the health checks of
    other containers fill that history within seconds.
    """

    def __init__(self, stack: Stack) -> None:
        self._codes: dict[str, int] = {}
        filters = {"event": "die", "label": f"com.docker.compose.project={stack.project}"}
        self._events = stack.engine.events(filters=filters, decode=True)
        self._thread = threading.Thread(target=self._record)

    def _record(self) -> None:
        for event in self._events:
            self._codes[event["Actor"]["ID"]] = int(event["Actor"]["Attributes"]["exitCode"])

    def failed(self, containers: Iterable[Container]) -> dict[str, int]:
        """Wait until all of these have exited; return the non-zero exit codes by name (137: killed by SIGKILL)."""
        names = {str(container.id): str(container.name) for container in containers}
        eventually(lambda: names.keys() <= self._codes.keys(), f"{', '.join(names.values())} exit")
        return {name: self._codes[identity] for identity, name in names.items() if self._codes[identity]}

    def __enter__(self) -> "Exits":
        self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._events.close()
        self._thread.join()
