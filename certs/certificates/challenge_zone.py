"""The DNS zone for ACME challenges (DNS-01, RFC 8555 section 8.4): which server takes its updates, with which key."""

import base64
import binascii
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from certificates import CertificateError
from certificates.domain import is_dns_name

REQUIRED = ("ACME_DNS_SERVER", "ACME_DNS_ZONE", "ACME_DNS_KEY_NAME", "ACME_DNS_KEY_FILE")
ALGORITHMS = ("hmac-sha256", "hmac-sha384", "hmac-sha512", "hmac-sha224", "hmac-sha1")  # RFC 8945 section 6
PLUGIN = "challenge-zone"  # certbot's name for dns_authenticator.py, from certificates.dist-info
OPTIONS = ("zone", "server", "port", "key-name", "key-file", "algorithm")
_SERVER = re.compile(r"(\[(?P<ipv6>[0-9a-fA-F:]+)\]|(?P<host>[A-Za-z0-9._-]+))(:(?P<port>\d{1,5}))?")
# What `tsig-keygen` (BIND) and `keymgr -t` (Knot) print.
_SECRET = re.compile(r"\bsecret:?\s+\"?(?P<secret>[^\s\";]+)")


@dataclass(frozen=True)
class ChallengeZone:
    """A zone, its primary server, and the TSIG key (RFC 8945) that may change its TXT records."""

    zone: str
    server: str
    port: int
    key_name: str
    key_file: Path
    algorithm: str = ALGORITHMS[0]

    def options(self) -> list[str]:
        """Return the options of certbot that select the authenticator and pass these values to it."""
        values = {option: str(getattr(self, option.replace("-", "_"))) for option in OPTIONS}
        return ["--authenticator", PLUGIN, *(f"--{PLUGIN}-{option}={value}" for option, value in values.items())]

    @classmethod
    def from_options(cls, values: Mapping[str, str]) -> "ChallengeZone":
        """Return the zone of these options."""
        zone, server, port, key_name, key_file, algorithm = (values[option] for option in OPTIONS)
        return cls(zone, server, int(port), key_name, Path(key_file), algorithm)


def read_zone(environ: "os._Environ[str]", directory: Path) -> ChallengeZone | None:
    """Return the zone of the settings, None without them; `directory`: where the key's file is.

    Raises CertificateError, which does not contain the key.
    """
    algorithm = (environ.get("ACME_DNS_ALGORITHM") or ALGORITHMS[0]).lower()
    if algorithm not in ALGORITHMS:
        raise CertificateError(f"ACME_DNS_ALGORITHM={algorithm!r} is not one of {', '.join(ALGORITHMS)}. Set one")
    given = {setting: environ.get(setting) or "" for setting in REQUIRED}
    if not any(given.values()):
        return None
    if missing := [setting for setting, value in given.items() if not value]:
        raise CertificateError(
            f"{', '.join(REQUIRED)} belong together, and {missing[0]} is not set. Set all four, or none"
        )
    server, zone, key_name, file = given.values()
    found = _SERVER.fullmatch(server)
    port = int((found and found["port"]) or 53)
    if not found or not 0 < port < 65536:
        raise CertificateError(
            f"ACME_DNS_SERVER={server!r} is not a host. Set the zone's primary server, such as ns1.example.net or"
            " 192.0.2.53:53"
        )
    for setting, name in (("ACME_DNS_ZONE", zone), ("ACME_DNS_KEY_NAME", key_name)):
        if not is_dns_name(name.removesuffix(".")):
            raise CertificateError(f"{setting}={name!r} is not a DNS name. Set one, such as acme.example.net")
    if "/" in file:
        raise CertificateError(f"ACME_DNS_KEY_FILE names a file in CERTS_DIR, not {file!r}. Put the file there")
    read_secret(directory / file)
    return ChallengeZone(
        zone=zone.removesuffix("."),
        server=found["ipv6"] or found["host"],
        port=port,
        key_name=key_name.removesuffix("."),
        key_file=directory / file,
        algorithm=algorithm,
    )


def read_secret(file: Path) -> bytes:
    """Return the secret of the TSIG key; raises CertificateError, which does not contain it."""
    try:
        text = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise CertificateError(
            f"ACME_DNS_KEY_FILE={file.name!r} is not readable in CERTS_DIR ({reason})."
            " Put a file with the TSIG key there"
        ) from None
    secrets = [found["secret"] for found in _SECRET.finditer(text)] or [text]
    try:
        if len(secrets) == 1 and (secret := base64.b64decode(secrets[0], validate=True)):
            return secret
    except (binascii.Error, ValueError):
        pass
    raise CertificateError(
        f"ACME_DNS_KEY_FILE={file.name!r} does not contain one secret in base64. Put the output of tsig-keygen there,"
        " or nothing but the secret"
    )
