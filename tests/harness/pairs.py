"""Certificates, private keys and CRLs in the files that an operator provides."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key


def write_pair(leaf: trustme.LeafCert, directory: Path) -> None:
    """Write server.pem (full chain, leaf first) and server.key."""
    leaf.private_key_pem.write_to_path(directory / "server.key")
    (directory / "server.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))


def issue_to(ca: trustme.CA, subject: x509.Name, serial: int) -> bytes:
    """Return a certificate of the CA for any subject, which trustme cannot issue, and its key, in PEM."""
    key, ca_key = ec.generate_private_key(ec.SECP256R1()), load_pem_private_key(ca.private_key_pem.bytes(), None)
    issuer = x509.load_pem_x509_certificate(ca.cert_pem.bytes())
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(issuer.subject, subject, key.public_key(), serial)
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    authority = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority), critical=False
    )
    certificate = builder.sign(ca_key, hashes.SHA256())  # type: ignore[arg-type]  # a CA key can sign
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM) + plain


def revocation_list(ca: trustme.CA, *revoked: trustme.LeafCert | int, until: datetime | None = None) -> bytes:
    """Return a CRL of the CA that revokes these certificates or serial numbers, in PEM; by default valid for a day."""
    until = until or datetime.now(UTC) + timedelta(days=1)
    key = load_pem_private_key(ca.private_key_pem.bytes(), None)
    issuer = x509.load_pem_x509_certificate(ca.cert_pem.bytes()).subject
    builder = x509.CertificateRevocationListBuilder(issuer, until - timedelta(days=2), until)
    for each in revoked:
        serial = each if isinstance(each, int) else certificate_of(each).serial_number
        entry = x509.RevokedCertificateBuilder(serial, until - timedelta(days=2))
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)  # type: ignore[arg-type]  # a CA key can sign


def certificate_of(leaf: trustme.LeafCert) -> x509.Certificate:
    return x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
