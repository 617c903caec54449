"""A development CA: it issues one certificate, and its key is discarded."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certificates import CertificateError
from certificates.contents import key_pem
from certificates.pair import Pair, to_pem
from certificates.volume import CERTIFICATE, CLIENT_CA, KEY

CA_FILE = "ca.pem"
ISSUER = "wss development CA"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
# Apple's systems refuse server certificates with a longer lifetime, from any issuer (https://support.apple.com/103769).
LIFETIME = timedelta(days=825)
TEMPORARY_LIFETIME = timedelta(days=7)


@dataclass(frozen=True)
class _Issued:
    """A certificate, its key, and the CA that issued it."""

    ca: x509.Certificate
    leaf: x509.Certificate
    key: ec.EllipticCurvePrivateKey


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
    _check_writable(directory, (CERTIFICATE, KEY, CA_FILE))
    issued = _issue([*domain, *LOOPBACK], LIFETIME)
    _write_all(
        directory, ((CA_FILE, to_pem([issued.ca])), (KEY, key_pem(issued.key)), (CERTIFICATE, to_pem([issued.leaf])))
    )


def make_client(directory: Path, name: str) -> None:
    """Write a CA for CLIENT_CA, and a client's certificate and key that it has issued."""
    files = (CLIENT_CA, "client.key", "client.pem")
    if present := [file for file in files if os.path.lexists(directory / file)]:
        raise CertificateError(f"{present[0]} is there, and is not overwritten. Move it away")
    _check_writable(directory, ())
    issued = _issue([], LIFETIME, client=name)
    contents = (to_pem([issued.ca]), key_pem(issued.key), to_pem([issued.leaf]))
    _write_all(directory, zip(files, contents, strict=True))


def temporary_pair(domain: list[str]) -> Pair:
    """Return an untrusted pair, to start the TLS services with until the ACME server issues one."""
    issued = _issue(domain, TEMPORARY_LIFETIME)
    return Pair(to_pem([issued.leaf]), key_pem(issued.key))


def _check_writable(directory: Path, own: tuple[str, ...]) -> None:
    for name in ("live", "archive"):
        if (directory / name).is_dir():
            raise CertificateError(
                f"{name}/ is there, so this is certbot's directory, into which no development pair is written."
                " Set CERTS_DIR to another directory"
            )
    if os.statvfs(directory).f_flag & os.ST_RDONLY:
        raise CertificateError(
            "a development pair cannot be written: the directory is mounted read-only. Put a pair there"
        )
    for name in own:
        file = directory / name
        if os.path.lexists(file) and not (is_development_ca(file) if name == CA_FILE else _is_own(directory)):
            raise CertificateError(
                f"{name} is there, is not of a development pair, and is not overwritten. Move it away, or set CERTS_DIR"
            )


def _is_own(directory: Path) -> bool:
    """Whether the pair in the directory is a development pair; what cannot be read is not."""
    try:
        chain = x509.load_pem_x509_certificates((directory / CERTIFICATE).read_bytes())
    except (OSError, ValueError):
        return False
    return _is_development_name(chain[0].issuer)


def _issue(names: list[str], lifetime: timedelta, client: str = "") -> _Issued:
    """Issue a certificate for the names, or for a client with this common name."""
    start = datetime.now(UTC) - timedelta(hours=1)
    end = start + lifetime
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    kind = "client " if client else ""
    ca_name = _name(
        (NameOID.ORGANIZATION_NAME, ISSUER), (NameOID.COMMON_NAME, f"{kind}{x509.random_serial_number():x}"[:64])
    )
    ca_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = (
        x509.CertificateBuilder(ca_name, ca_name, ca_key.public_key(), x509.random_serial_number(), start, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(ca_id, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    common = [(NameOID.COMMON_NAME, client)] if client else []
    leaf_name = _name((NameOID.ORGANIZATION_NAME, f"wss development {kind}certificate"), *common)
    purpose = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
    builder = (
        x509.CertificateBuilder(ca_name, leaf_name, key.public_key(), x509.random_serial_number(), start, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id), critical=False)
    )
    if names:
        alternative = x509.SubjectAlternativeName([_general_name(name) for name in dict.fromkeys(names)])
        builder = builder.add_extension(alternative, critical=False)
    return _Issued(ca, builder.sign(ca_key, hashes.SHA256()), key)


def _name(*attributes: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _write_all(directory: Path, files: Iterable[tuple[str, bytes]]) -> None:
    for name, content in files:
        _write(directory / name, content, 0o600 if name.endswith(".key") else 0o644)


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
