"""Certificates, private keys and CRLs in the files that an operator provides."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key


def write_pair(leaf: trustme.LeafCert, directory: Path) -> None:
    """Write server.pem (full chain, leaf first) and server.key."""
    leaf.private_key_pem.write_to_path(directory / "server.key")
    (directory / "server.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))


def revocation_list(ca: trustme.CA, *leaves: trustme.LeafCert, until: datetime | None = None) -> bytes:
    """Return a CRL of the CA that revokes these certificates, in PEM; by default valid for a day."""
    until = until or datetime.now(UTC) + timedelta(days=1)
    key = load_pem_private_key(ca.private_key_pem.bytes(), None)
    issuer = x509.load_pem_x509_certificate(ca.cert_pem.bytes()).subject
    builder = x509.CertificateRevocationListBuilder(issuer, until - timedelta(days=2), until)
    for leaf in leaves:
        revoked = x509.RevokedCertificateBuilder(certificate_of(leaf).serial_number, until - timedelta(days=2))
        builder = builder.add_revoked_certificate(revoked.build())
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)  # type: ignore[arg-type]  # a CA key can sign


def certificate_of(leaf: trustme.LeafCert) -> x509.Certificate:
    return x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
