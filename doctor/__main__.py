"""The command: `docker compose run --rm doctor wss://example.com/wss`, or `python -m doctor …`."""

import re
import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

import typer

from doctor.checks import run_checks
from doctor.context import Options
from doctor.finding import Severity
from doctor.report import JsonReport, TextReport

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _url(value: str) -> SplitResult:
    try:
        url = urlsplit(value)
        usable = url.scheme in ("ws", "wss", "http", "https") and url.hostname and url.port != 0
        (url.hostname or "").encode("idna")
    except ValueError as error:  # also UnicodeError
        raise typer.BadParameter(
            f"{value!r} is not a valid URL ({error}). Give one such as wss://example.com/wss"
        ) from None
    if not usable:
        raise typer.BadParameter(f"{value!r} is not the URL of a WebSocket. Give one such as wss://example.com/wss")
    if url.fragment or "@" in url.netloc:
        raise typer.BadParameter(f"{value!r}: the URL of a WebSocket has no user and no fragment (#). Remove it")
    return url


def _header(value: str) -> tuple[str, str]:
    name, colon, content = value.partition(":")
    if not (colon and name.strip() and value.isprintable()):
        raise typer.BadParameter(f"{value!r} is not a header. Give one such as 'Cookie: a=b'")
    if not value.isascii():
        raise typer.BadParameter(f"{value!r}: a header must be ASCII. Encode the value as the server expects it")
    if name.strip().lower().startswith("sec-websocket-"):
        raise typer.BadParameter(
            f"{value!r}: the doctor itself sets Sec-WebSocket-*. For a subprotocol, use --subprotocol"
        )
    return name.strip(), content.strip()


def _origin(value: str | None) -> str | None:
    if value is not None and not (value.isascii() and value.isprintable()):
        raise typer.BadParameter(f"{value!r} is not an origin. Give one such as https://example.com")
    return value


def _subprotocols(value: list[str] | None) -> list[str] | None:
    for name in value or ():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):  # RFC 6455 section 4.1: a token
            raise typer.BadParameter(f"{name!r} is not a subprotocol. Give one such as chat.v1")
    return value


def _resolve(value: str) -> tuple[str, int, str]:
    name, _, rest = value.partition(":")
    port, _, address = rest.partition(":")
    try:
        return name.lower(), int(port), str(ip_address(address.strip("[]")))
    except ValueError:
        raise typer.BadParameter(f"{value!r} is not NAME:PORT:ADDRESS, such as example.com:443:192.0.2.1") from None


def _existing(value: Path | None) -> Path | None:
    if value is None:
        return None
    try:
        if not value.is_file():
            raise typer.BadParameter(
                f"{value} is not a file (the container sees only certs/live and files that are mounted with -v)"
            )
    except PermissionError:
        raise typer.BadParameter(
            f"the container's user cannot read {value}. Allow it: chmod a+rX {value.parent} {value}"
        ) from None
    return value


@app.command()
def doctor(
    url: Annotated[Any, typer.Argument(parser=_url, metavar="URL", help="For example wss://example.com/wss.")],
    origin: Annotated[str | None, typer.Option(callback=_origin, help="Send this Origin header.")] = None,
    header: Annotated[
        list[Any] | None, typer.Option(parser=_header, metavar="NAME: VALUE", help="Add this header (repeatable).")
    ] = None,
    subprotocol: Annotated[
        list[str] | None, typer.Option(callback=_subprotocols, help="Offer this subprotocol (repeatable).")
    ] = None,
    ca: Annotated[Path | None, typer.Option(callback=_existing, help="Trust only these CAs (PEM).")] = None,
    client_cert: Annotated[Path | None, typer.Option(callback=_existing, help="Client certificate (PEM).")] = None,
    client_key: Annotated[
        Path | None, typer.Option(callback=_existing, help="Its key, if it is in another file.")
    ] = None,
    resolve: Annotated[
        list[Any] | None,
        typer.Option(parser=_resolve, metavar="NAME:PORT:ADDRESS", help="Use this address, without a DNS lookup."),
    ] = None,
    messages: Annotated[
        bool,
        typer.Option("--messages", help="Send the application a text message, a binary one and 1 MiB of text."),
    ] = False,
    message: Annotated[str | None, typer.Option(metavar="TEXT", help="Send the application this text message.")] = None,
    idle: Annotated[
        float,
        typer.Option(
            min=0, max=86400, metavar="SECONDS", help="Check whether an idle connection stays open this long."
        ),
    ] = 0,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=3600, metavar="SECONDS", help="Maximum time of each wait.")
    ] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a WebSocket over TLS step by step, and report the first problem.

    The application receives no message, unless --messages or --message is given.

    Exit code 0: healthy (there may be warnings); 1: there is a problem; 2: the command line is invalid.
    """
    options = Options(
        origin=origin,
        headers=tuple(header or ()),
        subprotocols=tuple(subprotocol or ()),
        ca=ca,
        client_cert=client_cert,
        client_key=client_key,
        resolve=tuple(resolve or ()),
        messages=messages,
        message=message,
        idle=idle,
        timeout=timeout,
    )
    _check_files(options)
    report = JsonReport(url.geturl()) if as_json else TextReport()
    healthy = True
    for check, finding in run_checks(url, options, report.start_check):
        report.add(check, finding)
        healthy = healthy and finding.severity is not Severity.PROBLEM
    report.finish(healthy)
    raise typer.Exit(0 if healthy else 1)


def _check_files(options: Options) -> None:
    try:
        ssl.create_default_context(cafile=options.ca)
    except (OSError, ssl.SSLError) as error:
        raise typer.BadParameter(f"{options.ca} contains no PEM certificates ({error})", param_hint="--ca") from None
    if options.client_cert:
        try:
            # The empty passphrase keeps OpenSSL from prompting for one.
            ssl.create_default_context().load_cert_chain(options.client_cert, options.client_key, password="")
        except (OSError, ssl.SSLError) as error:
            raise typer.BadParameter(
                f"{options.client_cert} is not a PEM certificate with its key ({error})",
                param_hint="--client-cert",
            ) from None
    elif options.client_key:
        raise typer.BadParameter("give --client-cert as well", param_hint="--client-key")


if __name__ == "__main__":
    app(prog_name="doctor")
