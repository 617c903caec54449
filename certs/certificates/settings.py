"""The settings of the certificate service: read and checked once, at the start."""

import os
from dataclasses import dataclass
from pathlib import Path

from certificates import CertificateError
from certificates.account_binding import AccountBinding, read_binding
from certificates.acme import LETS_ENCRYPT, WEBROOT, Order
from certificates.challenge_zone import REQUIRED, read_zone
from certificates.domain import is_address, is_public, parse_domain

INPUT = Path("/certs")  # CERTS_DIR of the host
SOURCES = ("auto", "files", "dev", "acme")


@dataclass(frozen=True)
class Settings:
    """The operator's settings; `certs_dir` is the path on the host, for messages."""

    source: str
    certs_dir: str
    domain: list[str]
    warn_days: int
    client_ca: str = ""
    client_crl: str = ""
    password_file: str = ""
    """The file in CERTS_DIR with the password of an encrypted key or a PKCS#12 file; empty: none."""
    json_log: bool = False
    order: Order | None = None
    """What to request from an ACME server; None: the certificate comes from files."""


def read_settings(environ: "os._Environ[str]") -> Settings:
    """Return the settings of the environment; raises CertificateError if one is invalid."""
    source = (environ.get("CERTS") or "auto").lower()
    if source not in SOURCES:
        raise CertificateError(f"CERTS={source!r} is not one of {', '.join(SOURCES)}. Set one of them")
    days = environ.get("CERTS_WARN_DAYS") or "14"
    if not days.isascii() or not days.isdigit() or len(days) > 4:
        raise CertificateError(f"CERTS_WARN_DAYS={days!r} is not a number of days. Set one, such as 14; 0 is off")
    ca, crl = environ.get("CLIENT_CA") or "", environ.get("CLIENT_CRL") or ""
    if crl and not ca:
        raise CertificateError("CLIENT_CRL revokes certificates of CLIENT_CA, which is not set. Set both")
    password_file = environ.get("CERTS_PASSWORD_FILE") or ""
    for setting, name in (("CLIENT_CA", ca), ("CLIENT_CRL", crl), ("CERTS_PASSWORD_FILE", password_file)):
        if "/" in name:
            raise CertificateError(f"{setting} names a file in CERTS_DIR, not {name!r}. Put the file there")
    names = parse_domain(environ.get("DOMAIN") or "localhost")
    return Settings(
        source=source,
        certs_dir=environ.get("CERTS_DIR") or "certs/live",
        domain=names,
        warn_days=int(days),
        client_ca=ca,
        client_crl=crl,
        password_file=password_file,
        json_log=(environ.get("LOG_FORMAT") or "").strip().lower() == "json",  # `check` has refused other words
        order=_order(environ, names) if source == "acme" else None,
    )


def _order(environ: "os._Environ[str]", domain: list[str]) -> Order:
    if not WEBROOT.is_dir():
        raise CertificateError("CERTS=acme needs port 80. Set COMPOSE_FILE=compose.yaml:acme.yaml")
    directory = environ.get("ACME_DIRECTORY") or LETS_ENCRYPT
    if not directory.startswith("https://"):
        raise CertificateError(
            f"ACME_DIRECTORY={directory!r} is not an https URL. Set the URL of the ACME server's directory"
        )
    zone = read_zone(environ, INPUT)
    for name in domain:
        if name.startswith("*.") and not zone:
            raise CertificateError(
                f"an ACME server validates wildcards over DNS only, and DOMAIN has {name!r}. Set {', '.join(REQUIRED)}"
                " (docs/certificates.md), or list the names"
            )
        if zone and is_address(name):
            raise CertificateError(
                f"with ACME_DNS_ZONE the names are validated over DNS, and DOMAIN has the address {name!r}. Remove one"
                " of the two"
            )
    if directory == LETS_ENCRYPT:
        for name in domain:
            if not is_public(name):
                raise CertificateError(f"no public CA issues a certificate for DOMAIN={name!r}. Set your public name")
    email = environ.get("ACME_EMAIL") or ""
    if email and not all(email.partition("@")):
        raise CertificateError(f"ACME_EMAIL={email!r} is not an email address. Set one, or leave it empty")
    root = environ.get("ACME_CA") or ""
    if root and ("/" in root or not (INPUT / root).is_file()):
        raise CertificateError(f"ACME_CA={root!r} is not a file in CERTS_DIR. Put the ACME server's root there")
    retry = environ.get("ACME_RETRY") or "300"
    if not retry.isascii() or not retry.isdigit() or retry == "0":
        raise CertificateError(f"ACME_RETRY={retry!r} is not a number of seconds above 0. Set one, such as 300")
    return Order(
        domain,
        email=email,
        directory=directory,
        profile=environ.get("ACME_PROFILE") or "",
        root=INPUT / root if root else None,
        retry=float(retry),
        binding=_binding(environ),
        zone=zone,
    )


def _binding(environ: "os._Environ[str]") -> AccountBinding | None:
    """Return the external account binding (RFC 8555 section 7.3.4), if it is set."""
    kid, name = environ.get("ACME_EAB_KID") or "", environ.get("ACME_EAB_HMAC_KEY_FILE") or ""
    if not kid and not name:
        return None
    if not kid or not name:
        raise CertificateError(
            "ACME_EAB_KID and ACME_EAB_HMAC_KEY_FILE belong together. Set both, or neither; the ACME server's operator"
            " gives you the key's ID and the key"
        )
    if "/" in name:
        raise CertificateError(f"ACME_EAB_HMAC_KEY_FILE names a file in CERTS_DIR, not {name!r}. Put the file there")
    return read_binding(kid, INPUT / name)
