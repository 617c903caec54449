"""How containers end, by the engine's own events: `down` leaves no container to ask."""

import threading
from collections.abc import Iterable
from types import TracebackType

from docker.models.containers import Container
from eventually import eventually
from stack import Stack


class Exits:
    """Records the exit code of each container of the stack that ends in the context.

    Subscribed before the command: the engine's history has 256 events for the whole machine, and health checks of other
    containers fill it within seconds.
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
        """Wait until all these have ended; return the exit codes but 0, by name. 137: killed after the grace period."""
        names = {str(container.id): str(container.name) for container in containers}
        eventually(lambda: names.keys() <= self._codes.keys(), f"{', '.join(names.values())} end")
        return {name: self._codes[identity] for identity, name in names.items() if self._codes[identity]}

    def __enter__(self) -> "Exits":
        self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._events.close()
        self._thread.join()
