"""All steps in their order; the first problem is the cause of what would follow, and ends the walk."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import SplitResult

from doctor import address, certificate, messages, tls, upgrade
from doctor.finding import Finding, Mark, problem
from doctor.route import Options, Route


@dataclass(frozen=True)
class Step:
    """One place on the way, and how to look at it."""

    name: str
    look: Callable[[Route], Iterator[Finding]]


STEPS = (
    Step("URL", address.look_at_url),
    Step("DNS", address.look_up),
    Step("TCP", address.connect),
    Step("TLS", tls.shake_hands),
    Step("certificate", certificate.judge),
    Step("upgrade", upgrade.shake_hands),
    Step("messages", messages.talk),
)
IDLE = Step("idle", messages.hold)


def walk(url: SplitResult, options: Options, entering: Callable[[Step], None]) -> Iterator[tuple[Step, Finding]]:
    """Yield what is found, as it is found; `entering` is told of each step before it is looked at."""
    route = Route(url, options)
    for step in (*STEPS, IDLE) if options.idle else STEPS:
        entering(step)
        for finding in _look(step, route):
            yield step, finding
            if finding.mark is Mark.PROBLEM:
                return


def _look(step: Step, route: Route) -> Iterator[Finding]:
    try:
        yield from step.look(route)
    except upgrade.RefusedError as refused:
        yield refused.finding
    except OSError as error:
        # What worked a moment ago does not any more.
        yield problem(
            "unsteady",
            f"{error}",
            "the steps before went well on connections of their own, and this one did not: the server or the line is"
            " unsteady, or limits how often one client may connect",
            "Run the doctor again; look at the server's log",
        )
