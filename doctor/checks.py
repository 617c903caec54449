"""All checks in their order; the first problem ends the run."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import SplitResult

from doctor import address, certificate, client_certificate, idle, messages, ping_and_close, tls, upgrade
from doctor.context import Context, Options
from doctor.finding import Finding, Severity, problem


@dataclass(frozen=True)
class Check:
    """One step between a client and a WebSocket, and the function that checks it."""

    name: str
    run: Callable[[Context], Iterator[Finding]]


CHECKS = (
    Check("URL", address.check_url),
    Check("DNS", address.check_dns),
    Check("TCP", address.check_tcp),
    Check("TLS", tls.check_tls),
    Check("certificate", certificate.check_certificate),
    Check("upgrade", upgrade.check_upgrade),
    Check("ping, close", ping_and_close.check_ping_and_close),
)
CLIENT = Check("client", client_certificate.check_client_certificate)
MESSAGES = Check("messages", messages.check_messages)
IDLE = Check("idle", idle.check_idle)


def run_checks(
    url: SplitResult, options: Options, on_start: Callable[[Check], None]
) -> Iterator[tuple[Check, Finding]]:
    """Yield each finding when it is found; call `on_start` before each check."""
    context = Context(url, options)
    sends_messages = options.messages or options.message is not None
    optional = *[MESSAGES] * sends_messages, *[IDLE] * bool(options.idle)
    for check in (*[CLIENT] * bool(options.client_cert), *CHECKS, *optional):
        on_start(check)
        for finding in _findings(check, context):
            yield check, finding
            if finding.severity is Severity.PROBLEM:
                return


def _findings(check: Check, context: Context) -> Iterator[Finding]:
    try:
        yield from check.run(context)
    except upgrade.HandshakeFailedError as error:
        yield error.finding
    except OSError as error:
        # The same step succeeded in an earlier check.
        yield problem(
            "unsteady",
            f"{error}",
            "the earlier checks succeeded on their own connections, but this one failed: the server or the network is"
            " unstable, or the server limits the connections of each client",
            "Run the doctor again; check the server's log",
        )
