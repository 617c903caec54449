"""A development CA: made by trustme, issues one certificate, and its key is discarded."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.x509.oid import NameOID

from certificates import CertificateError
from certificates.pair import Pair
from certificates.volume import CERTIFICATE, KEY

CA_FILE = "ca.pem"
ISSUER = "wss development CA"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
# Apple's systems refuse server certificates with a longer lifetime, from any issuer (https://support.apple.com/103769).
LIFETIME = timedelta(days=825)
TEMPORARY_LIFETIME = timedelta(days=7)


def is_development(pair: Pair) -> bool:
    """Whether `make_pair` made it."""
    return _is_development_name(pair.chain[0].issuer)


def is_development_ca(file: Path) -> bool:
    """Whether the file is a CA file that `make_pair` wrote."""
    try:
        return all(_is_development_name(ca.subject) for ca in x509.load_pem_x509_certificates(file.read_bytes()))
    except (OSError, ValueError):
        return False


def _is_development_name(name: x509.Name) -> bool:
    return any(part.value == ISSUER for part in name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))


def make_pair(directory: Path, domain: list[str]) -> None:
    """Write CA, key and certificate for the domain and loopback; the files get the directory's owner.

    The CA's key is never written: a client that trusts the CA file trusts this one pair and no other.
    """
    ca, leaf = _issue([*domain, *LOOPBACK], LIFETIME)
    for name, content, mode in (
        (CA_FILE, ca.cert_pem.bytes(), 0o644),
        (KEY, leaf.private_key_pem.bytes(), 0o600),
        (CERTIFICATE, _chain(leaf), 0o644),
    ):
        _write(directory / name, content, mode)


def temporary_pair(domain: list[str]) -> Pair:
    """Return an untrusted pair, to start the TLS services with until the ACME server issues one."""
    _, leaf = _issue(domain, TEMPORARY_LIFETIME)
    return Pair(_chain(leaf), leaf.private_key_pem.bytes())


def _chain(leaf: trustme.LeafCert) -> bytes:
    return b"".join(blob.bytes() for blob in leaf.cert_chain_pems)


def _issue(names: list[str], lifetime: timedelta) -> tuple[trustme.CA, trustme.LeafCert]:
    now = datetime.now(UTC)
    ca = trustme.CA(organization_name=ISSUER)
    try:
        leaf = ca.issue_cert(
            *dict.fromkeys(names),
            organization_name="wss development certificate",
            not_before=now - timedelta(hours=1),
            not_after=now + lifetime - timedelta(hours=1),
        )
    except ValueError as error:
        raise CertificateError(
            f"cannot make a certificate for DOMAIN={','.join(names)} ({error}). Correct DOMAIN"
        ) from None
    return ca, leaf


def _write(path: Path, content: bytes, mode: int) -> None:
    owner = path.parent.stat()
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.write(content)
    except OSError as error:
        raise CertificateError(
            f"cannot write {path.name} ({error.strerror}). Make the directory writable, or put a pair there"
        ) from None
