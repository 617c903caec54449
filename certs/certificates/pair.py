"""A certificate chain and its private key, as published."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from certificates.volume import CERTIFICATE, KEY


@dataclass(frozen=True)
class Pair:
    """A certificate chain (leaf first) and its key, both in PEM, and the names of their files."""

    certificate: bytes
    key: bytes
    client_ca: bytes = b""
    """The CAs that issue client certificates, in PEM; empty: clients need no certificate."""
    client_crl: bytes = b""
    """The revocation lists of these CAs, in PEM; empty: none."""
    certificate_file: str = field(default=CERTIFICATE, compare=False)
    key_file: str = field(default=KEY, compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)
    """For the log: what is published otherwise than it is in the files, and which clients will reject it."""
    path: tuple[x509.Certificate, ...] = field(default=(), compare=False)
    """The certificates that clients verify, after `check_pair`: from the leaf to the trust anchor."""

    @cached_property
    def chain(self) -> list[x509.Certificate]:
        """The certificates, leaf first."""
        return x509.load_pem_x509_certificates(self.certificate)

    @property
    def names(self) -> list[str]:
        """The DNS names and IP addresses in the certificate's SAN."""
        return names_of(self.chain[0])

    @property
    def key_type(self) -> str:
        """The key's algorithm and size or curve, such as ``ECDSA secp256r1``."""
        match self.chain[0].public_key():
            case rsa.RSAPublicKey() as key:
                return f"RSA {key.key_size}"
            case ec.EllipticCurvePublicKey() as key:
                return f"ECDSA {key.curve.name}"
            case other:
                return type(other).__name__.strip("_").removesuffix("PublicKey")

    @property
    def start(self) -> datetime:
        """When all certificates that clients verify are valid."""
        return max(certificate.not_valid_before_utc for certificate in self.path or self.chain[:1])

    @property
    def expiry(self) -> datetime:
        """When the first certificate that clients verify expires."""
        return min(certificate.not_valid_after_utc for certificate in self.path or self.chain[:1])

    @property
    def days_left(self) -> int:
        """Whole days until `expiry`; negative afterwards."""
        return (self.expiry - datetime.now(UTC)).days

    @property
    def is_self_signed(self) -> bool:
        """Whether no CA has signed the leaf."""
        return self.chain[0].issuer == self.chain[0].subject

    def without_root(self) -> "Pair":
        """Return the pair with the chain to send: clients have the root already."""
        leaf, *authorities = self.chain
        sent = [leaf, *(one for one in authorities if one.issuer != one.subject)]
        return self if len(sent) == len(self.chain) else replace(self, certificate=to_pem(sent))


def to_pem(certificates: list[x509.Certificate]) -> bytes:
    """Return the certificates in PEM."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def names_of(certificate: x509.Certificate) -> list[str]:
    """Return the DNS names and IP addresses in the SAN; nothing if it cannot be parsed."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress)]
