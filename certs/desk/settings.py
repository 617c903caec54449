"""The settings of the desk: read once, at the start, and checked."""

import os
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from desk import CertificateError
from desk.acme import LETS_ENCRYPT, WEBROOT, Order

INPUT = Path("/certs")  # CERTS_DIR of the host
SOURCES = ("auto", "files", "dev", "acme")


@dataclass(frozen=True)
class Settings:
    """What the operator has set; `certs_dir` is what they call it on the host."""

    source: str
    certs_dir: str
    domain: list[str]
    warn_days: int
    client_ca: str = ""
    client_crl: str = ""
    order: Order | None = None
    """What to ask an ACME server for, where the certificate comes from one."""


def read_settings(environ: "os._Environ[str]") -> Settings:
    """Return the settings of the environment; raises CertificateError where one is wrong."""
    source = (environ.get("CERTS") or "auto").lower()
    if source not in SOURCES:
        raise CertificateError(f"CERTS={source!r} is none of {', '.join(SOURCES)}. Set one of them")
    days = environ.get("CERTS_WARN_DAYS") or "14"
    if not days.isascii() or not days.isdigit() or len(days) > 4:
        raise CertificateError(f"CERTS_WARN_DAYS={days!r} is no number of days. Set one, such as 14; 0 is off")
    ca, crl = environ.get("CLIENT_CA") or "", environ.get("CLIENT_CRL") or ""
    if crl and not ca:
        raise CertificateError("CLIENT_CRL revokes certificates of CLIENT_CA, which is not set. Set both")
    for name in (ca, crl):
        if "/" in name:
            raise CertificateError(
                f"CLIENT_CA and CLIENT_CRL name files in CERTS_DIR, not {name!r}. Put the file there"
            )
    domain = (environ.get("DOMAIN") or "localhost").lower().replace(",", " ").split()
    names = [name.strip("[]") for name in domain]
    return Settings(
        source=source,
        certs_dir=environ.get("CERTS_DIR") or "certs/live",
        domain=names,
        warn_days=int(days),
        client_ca=ca,
        client_crl=crl,
        order=_order(environ, names) if source == "acme" else None,
    )


def _is_public(name: str) -> bool:
    """Whether it may be known beyond this network: an address of the internet, or a name under a top level domain."""
    try:
        return ip_address(name).is_global
    except ValueError:
        # RFC 6761 and RFC 6762.
        return "." in name and not name.endswith((".localhost", ".local", ".test", ".invalid", ".example"))


def _order(environ: "os._Environ[str]", domain: list[str]) -> Order:
    if not WEBROOT.is_dir():
        raise CertificateError("CERTS=acme needs port 80. Set COMPOSE_FILE=compose.yaml:acme.yaml")
    directory = environ.get("ACME_DIRECTORY") or LETS_ENCRYPT
    if not directory.startswith("https://"):
        raise CertificateError(f"ACME_DIRECTORY={directory!r} is no https URL. Set that of the ACME server's directory")
    if directory == LETS_ENCRYPT:
        for name in domain:
            if not _is_public(name):
                raise CertificateError(f"DOMAIN={name!r} is nothing that a public CA issues for. Set your public name")
    email = environ.get("ACME_EMAIL") or ""
    if email and not all(email.partition("@")):
        raise CertificateError(f"ACME_EMAIL={email!r} is no address. Set one, or none")
    root = environ.get("ACME_CA") or ""
    if root and ("/" in root or not (INPUT / root).is_file()):
        raise CertificateError(f"ACME_CA={root!r} is no file in CERTS_DIR. Put the root of the ACME server there")
    retry = environ.get("ACME_RETRY") or "300"
    if not retry.isascii() or not retry.isdigit() or retry == "0":
        raise CertificateError(f"ACME_RETRY={retry!r} is no number of seconds. Set one, such as 300")
    return Order(
        domain,
        email=email,
        directory=directory,
        profile=environ.get("ACME_PROFILE") or "",
        root=INPUT / root if root else None,
        retry=float(retry),
    )
