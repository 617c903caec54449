"""The commands of the desk; `serve` is what the service `certs` does.

docker compose run --rm certs show           what is served now
docker compose run --rm certs check DIR      would this pair be served?
docker compose run --rm certs new NAME …     make a development pair for these names
"""

import argparse
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

from desk import CertificateError
from desk.check import check_pair
from desk.development import is_development, make_pair
from desk.pair import Pair, find_pair, read_pair
from desk.publish import published, stage
from desk.service import OUTPUT, Desk, known_roots
from desk.settings import INPUT, Settings, read_settings


def serve(settings: Settings) -> None:
    """Publish, and go on publishing what changes, until a signal ends it."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    desk = Desk(settings)
    desk.start()
    desk.run(stop)


def show() -> None:
    """Print what is published now."""
    pair = published(OUTPUT)
    if pair is None:
        raise CertificateError("nothing is served yet. Start a profile: docker compose --profile nginx up --wait")
    describe(pair)


def check_directory(settings: Settings, directory: Path) -> None:
    """Print what the pair of a directory is; raises CertificateError unless it could be served."""
    pair = find_pair(INPUT / directory, settings.domain[0])
    if pair is None:
        raise CertificateError(
            f"there is no pair (server.pem and server.key, or certbot's). Mount it:"
            f" docker compose run --rm -v $PWD/{directory.name}:/{directory.name}:ro certs check /{directory.name}"
        )
    with tempfile.TemporaryDirectory() as volume:
        check_pair(pair, settings.domain, stage(pair.without_root(), Path(volume)), known_roots(INPUT / directory))
    describe(pair)
    print("good: it can be served")


def new(settings: Settings, names: list[str]) -> None:
    """Make a development pair in CERTS_DIR, where none lies that is not from here."""
    present = read_pair(INPUT)
    if present and not is_development(present):
        raise CertificateError("there is a pair of your own, which is not overwritten. Move it away, or set CERTS_DIR")
    make_pair(INPUT, names)
    made = read_pair(INPUT)
    assert made
    describe(made)
    print(f"made: trust {settings.certs_dir}/ca.pem to use it")


def describe(pair: Pair) -> None:
    """Print names, issuer, serial number, time left, key, and chain."""
    leaf = pair.chain[0]
    rows = {
        "names": ", ".join(pair.names),
        "issuer": leaf.issuer.rfc4514_string(),
        "serial": leaf.serial_number.to_bytes(-(-leaf.serial_number.bit_length() // 8)).hex(),
        "valid": f"{pair.start:%Y-%m-%d %H:%M} to {pair.expiry:%Y-%m-%d %H:%M} UTC, {pair.days_left} days left",
        "key": pair.key_kind,
        "chain": " <- ".join(certificate.subject.rfc4514_string() or "(no subject)" for certificate in pair.chain),
    }
    for name, value in rows.items():
        print(f"{name:7} {value}")


def main() -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="certs", description="The certificate desk.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="publish the pair, and each one that replaces it")
    commands.add_parser("show", help="print what is served now")
    checked = commands.add_parser("check", help="would the pair of a directory be served?")
    checked.add_argument("directory", type=Path, metavar="DIR", help="in the container, or below CERTS_DIR")
    made = commands.add_parser("new", help="make a development pair in CERTS_DIR")
    made.add_argument("names", nargs="+", metavar="NAME")
    arguments = parser.parse_args()
    settings = read_settings(os.environ)
    try:
        match arguments.command:
            case "serve":
                serve(settings)
            case "show":
                show()
            case "check":
                check_directory(settings, arguments.directory)
            case "new":
                new(settings, arguments.names)
    except CertificateError as error:
        where = arguments.directory if arguments.command == "check" else settings.certs_dir
        raise CertificateError(f"{where}: {error}") from None


if __name__ == "__main__":
    try:
        main()
    except (CertificateError, OSError) as error:
        sys.exit(f"certs: {error}")
