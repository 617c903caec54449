"""`python -m desk`: publish the pair of CERTS_DIR, or a development pair where it has none; exit 1 where it cannot."""

import os
import sys
from pathlib import Path

from desk import CertificateError
from desk.development import CA, make_pair
from desk.pair import check_pair, read_pair
from desk.publish import publish, stage

INPUT = Path("/certs")  # CERTS_DIR of the host
OUTPUT = Path("/tls")  # the volume that the TLS services read


def run(certs_dir: str, domain: list[str]) -> None:
    if not INPUT.is_dir():
        raise CertificateError("this is not a directory. Set CERTS_DIR to one")
    pair = read_pair(INPUT)
    if pair is None:
        make_pair(INPUT, domain)
        pair = read_pair(INPUT)
        assert pair is not None
        print(
            f"certs: made a development certificate. To trust it: sudo cp {certs_dir}/{CA}"
            " /usr/local/share/ca-certificates/wss-development.crt && sudo update-ca-certificates"
            " (browsers and other systems: README)"
        )
    staged = stage(pair, OUTPUT)
    check_pair(pair, domain, staged)
    publish(staged)
    print(f"certs: serving {', '.join(pair.names)} until {pair.expiry:%Y-%m-%d}")


if __name__ == "__main__":
    certs_dir = os.environ.get("CERTS_DIR") or "certs/live"
    items = (os.environ.get("DOMAIN") or "localhost").lower().replace(",", " ").split()
    domain = [item.strip("[]") for item in items]
    try:
        run(certs_dir, domain)
    except CertificateError as error:
        sys.exit(f"certs: {certs_dir}: {error}")
