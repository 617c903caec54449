"""The commands of the certificate service; the service `certs` runs `serve`.

docker compose run --rm certs show           print the published pair
docker compose run --rm certs check DIR      check the pair of a directory
docker compose run --rm certs new NAME …     make a development pair for these names
docker compose run --rm certs new --client NAME
                                             make a client's certificate, and its CA for CLIENT_CA
"""

import argparse
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

from certificates import CertificateError
from certificates.check import check_pair
from certificates.development import CA_FILE, make_client, make_pair
from certificates.domain import parse_domain
from certificates.pair import Pair
from certificates.publish import read_published, stage
from certificates.service import CertificateService, known_roots, operator_files
from certificates.settings import INPUT, Settings, read_settings
from certificates.source import read_pair
from certificates.volume import CERTIFICATE, CLIENT_CA, KEY, TLS_VOLUME


def serve(settings: Settings) -> None:
    """Publish the pair, and each valid one that replaces it, until SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    service = CertificateService(settings)
    service.start()
    service.run(stop)


def show() -> None:
    """Print the published pair."""
    pair = read_published(TLS_VOLUME)
    if pair is None:
        raise CertificateError("no pair is published yet. Start a profile: docker compose --profile nginx up --wait")
    print_pair(pair)


def check_directory(settings: Settings, directory: Path) -> None:
    """Check the pair of a directory and print it; raises CertificateError if it cannot be served."""
    source = operator_files(settings, INPUT / directory)
    pair = source.find() if source.directory.is_dir() else None
    if pair is None:
        raise CertificateError(
            f"there is no pair ({CERTIFICATE} and {KEY}, or certbot's). Mount the directory:"
            f" docker compose run --rm -v $PWD/{directory.name}:/{directory.name}:ro certs check /{directory.name}"
        )
    with tempfile.TemporaryDirectory() as volume:
        staged = stage(pair.without_root(), Path(volume))
        pair = check_pair(pair, settings.domain, staged, known_roots(source.directory))
    print_pair(pair)
    for note in pair.notes:
        print(f"warning: {note}")
    print("valid: this pair can be served")


def new(settings: Settings, names: list[str], *, client: bool) -> None:
    """Make a development pair, or a client's certificate, in CERTS_DIR; nothing else is overwritten."""
    if client:
        make_client(INPUT, " ".join(names))
        print(f"client.pem and client.key made, for a client; set CLIENT_CA={CLIENT_CA}, their CA, to require them")
        return
    make_pair(INPUT, parse_domain(",".join(names)))
    made = read_pair(INPUT)
    assert made
    print_pair(made)
    print(f"development pair made. Trust {settings.certs_dir}/{CA_FILE} to use it")


def print_pair(pair: Pair) -> None:
    """Print names, issuer, serial number, validity, key type, and chain."""
    leaf = pair.chain[0]
    rows = {
        "names": ", ".join(pair.names),
        "issuer": leaf.issuer.rfc4514_string(),
        "serial": leaf.serial_number.to_bytes(-(-leaf.serial_number.bit_length() // 8)).hex(),
        "valid": f"{pair.start:%Y-%m-%d %H:%M} to {pair.expiry:%Y-%m-%d %H:%M} UTC, {pair.days_left} days left",
        "key": pair.key_type,
        "chain": " <- ".join(certificate.subject.rfc4514_string() or "(no subject)" for certificate in pair.chain),
    }
    for name, value in rows.items():
        print(f"{name:7} {value}")


def main() -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="certs", description="The certificate service.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="publish the pair, and each valid one that replaces it")
    commands.add_parser("show", help="print the published pair")
    check = commands.add_parser("check", help="check whether the pair of a directory can be served")
    check.add_argument("directory", type=Path, metavar="DIR", help="a path in the container, or relative to CERTS_DIR")
    make = commands.add_parser("new", help="make a development pair in CERTS_DIR")
    make.add_argument(
        "--client", action="store_true", help="instead, a client's certificate for mutual TLS, and its CA"
    )
    make.add_argument("names", nargs="+", metavar="NAME")
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
                new(settings, arguments.names, client=arguments.client)
    except CertificateError as error:
        where = arguments.directory if arguments.command == "check" else settings.certs_dir
        raise CertificateError(f"{where}: {error}") from None


if __name__ == "__main__":
    try:
        main()
    except (CertificateError, OSError) as error:
        sys.exit(f"certs: {error}")
