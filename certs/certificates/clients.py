"""CLIENT_CA and CLIENT_CRL: the CAs that issue client certificates, and their revocation lists."""

import ssl
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certificates import CertificateError
from certificates.chain import SYSTEM_ROOTS, subject
from certificates.contents import read_contents
from certificates.pair import Pair, to_pem
from certificates.source import read_file


def with_client_files(pair: Pair, directory: Path, ca: str, crl: str) -> Pair:
    """Return the pair with the contents of the files named by CLIENT_CA and CLIENT_CRL; an empty name: no file.

    Raises CertificateError if such a file is missing, unreadable or truncated: an empty one would mean no client CA, or
    nothing revoked.
    """
    return replace(
        pair,
        client_ca=_read_authorities(directory / ca) if ca else b"",
        client_crl=_read_lists(read_file(directory / crl), crl) if crl else b"",
    )


def _read_authorities(file: Path) -> bytes:
    contents = read_contents(read_file(file), file.name)
    if contents.mistake:
        raise CertificateError(f"CLIENT_CA: {contents.mistake}")
    if not contents.certificates:
        raise CertificateError(f"CLIENT_CA: {file.name} has no certificate. Put the PEM file of the clients' CA there")
    return to_pem(list(contents.certificates))


@lru_cache(maxsize=2)  # a list may be large, and is read every second
def _read_lists(data: bytes, name: str) -> bytes:
    if not data.count(b"-----BEGIN ") or data.count(b"-----BEGIN ") != data.count(b"-----END "):
        raise CertificateError(
            f"CLIENT_CRL: {name} is not in PEM, or truncated. Put the complete PEM file there"
            f" (from DER: openssl crl -inform DER -in {name} -out client-crl.pem)"
        )
    lists = []
    for block in _blocks(data):
        try:
            lists.append(x509.load_pem_x509_crl(block).public_bytes(Encoding.PEM))
        except ValueError as error:
            raise CertificateError(
                f"CLIENT_CRL: {name} is not a PEM revocation list ({error}). Put the CA's list there"
            ) from None
    if not lists:
        raise CertificateError(f"CLIENT_CRL: {name} contains no revocation list. Put the CA's list there, in PEM")
    return b"".join(lists)


def check_clients(pair: Pair) -> list[str]:
    """Raise CertificateError unless the client CAs are valid CAs, each with its issuer and a current revocation list.

    Without `client_crl`, no revocation lists are needed. Return warnings.
    """
    if not pair.client_ca:
        return []
    authorities = _authorities(pair.client_ca)
    if pair.client_crl:
        _check_lists(pair.client_crl, authorities)
    return [
        f"CLIENT_CA: {subject(authority)} is a public CA: it issues no certificates for clients any more, and to"
        " anybody for servers. Use a private CA (for development: docker compose run --rm certs new --client NAME)"
        for authority in authorities
        if to_pem([authority]) in _public_roots()
    ]


@lru_cache(maxsize=1)
def _public_roots() -> frozenset[bytes]:
    if not SYSTEM_ROOTS.exists():
        return frozenset()
    end = b"-----END CERTIFICATE-----\n"  # not parsed: some roots have serial numbers that RFC 5280 forbids
    return frozenset(block + end for block in SYSTEM_ROOTS.read_bytes().split(end))


class RevocationList(NamedTuple):
    """What a CA has revoked."""

    issuer: Any
    """The name of the CA, as Python's ssl gives the name of the issuer in getpeercert()."""
    serials: list[str]
    """Serial numbers, in hexadecimal."""


def revocation_lists(pair: Pair) -> list[RevocationList]:
    """Return what the revocation lists of a valid pair revoke."""
    names = {authority.subject: _name(authority) for authority in _authorities(pair.client_ca)}
    return [
        RevocationList(names[revoked.issuer], [f"{each.serial_number:X}" for each in revoked])
        for revoked in map(x509.load_pem_x509_crl, _blocks(pair.client_crl))
    ]


def _name(authority: x509.Certificate) -> Any:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_verify_locations(cadata=authority.public_bytes(Encoding.DER))
    (parsed,) = context.get_ca_certs()
    return parsed["subject"]


def valid_until(pair: Pair) -> datetime | None:
    """Return when the first client CA or revocation list expires; None if there is none.

    From then on, clients are refused.
    """
    ends = [revoked.next_update_utc for revoked in map(x509.load_pem_x509_crl, _blocks(pair.client_crl))]
    if pair.client_ca:
        ends += [authority.not_valid_after_utc for authority in _authorities(pair.client_ca)]
    return min((end for end in ends if end), default=None)


def _blocks(pem: bytes) -> list[bytes]:
    end = b"-----END X509 CRL-----"
    return [block + end for block in pem.split(end)[:-1]]


def _authorities(pem: bytes) -> list[x509.Certificate]:
    authorities = x509.load_pem_x509_certificates(pem)
    for authority in authorities:
        name = authority.subject.rfc4514_string()
        try:
            is_ca = authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except x509.ExtensionNotFound:
            is_ca = False
        if not is_ca:
            raise CertificateError(
                f"CLIENT_CA: {name} is not a CA certificate. Put the CA that issued your clients' certificates there"
            )
        if authority.not_valid_after_utc < datetime.now(UTC):
            raise CertificateError(
                f"CLIENT_CA: {name} expired on {authority.not_valid_after_utc:%Y-%m-%d}. Put a valid CA there"
            )
    subjects = {authority.subject for authority in authorities}
    for authority in authorities:
        if authority.issuer not in subjects:
            raise CertificateError(
                f"CLIENT_CA: {authority.subject.rfc4514_string()} is issued by"
                f" {authority.issuer.rfc4514_string()}, which is missing; without it, clients are refused. Add it"
            )
    return authorities


def _check_lists(pem: bytes, authorities: list[x509.Certificate]) -> None:
    missing = {authority.subject for authority in authorities}
    for revoked in map(x509.load_pem_x509_crl, _blocks(pem)):
        issuer = revoked.issuer.rfc4514_string()
        keys = [authority.public_key() for authority in authorities if authority.subject == revoked.issuer]
        if not any(revoked.is_signature_valid(key) for key in keys):  # type: ignore[arg-type]  # a CA's key signs
            raise CertificateError(
                f"CLIENT_CRL: the list of {issuer} is not issued by a CA of CLIENT_CA. Put that CA's list there"
            )
        if revoked.next_update_utc and revoked.next_update_utc < datetime.now(UTC):
            raise CertificateError(
                f"CLIENT_CRL: the list of {issuer} expired on {revoked.next_update_utc:%Y-%m-%d %H:%M} UTC;"
                " with it, clients are refused. Put a current one there"
            )
        missing.discard(revoked.issuer)
    if missing:
        names = ", ".join(sorted(name.rfc4514_string() for name in missing))
        raise CertificateError(f"CLIENT_CRL has no list of {names}; without it, its clients are refused. Add it")
