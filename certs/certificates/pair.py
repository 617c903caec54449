"""A certificate chain and its private key, read from the files of a directory."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from certificates import CertificateError
from certificates.volume import CERTIFICATE, KEY

CHAIN = "chain.pem"
# The first layout that is present is used. The second and third are certbot's.
LAYOUTS = ((CERTIFICATE, KEY), ("fullchain.pem", "privkey.pem"), ("cert.pem", "privkey.pem"))


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

    @cached_property
    def chain(self) -> list[x509.Certificate]:
        """The certificates, leaf first; raises CertificateError if there are none."""
        try:
            return x509.load_pem_x509_certificates(self.certificate)
        except ValueError as error:
            cause = _explain(self.certificate, error)
            raise CertificateError(
                f"{self.certificate_file} is not a PEM certificate chain ({cause})."
                " Put the full chain there, leaf first"
            ) from None

    @property
    def names(self) -> list[str]:
        """The DNS names and IP addresses in the certificate's SAN."""
        try:
            names = self.chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return []
        return [str(name.value) for name in names]

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
        """When all certificates of the chain are valid."""
        return max(certificate.not_valid_before_utc for certificate in self.chain)

    @property
    def expiry(self) -> datetime:
        """When the first certificate of the chain expires."""
        return min(certificate.not_valid_after_utc for certificate in self.chain)

    @property
    def days_left(self) -> int:
        """Whole days until `expiry`; negative afterwards."""
        return (self.expiry - datetime.now(UTC)).days

    @property
    def last(self) -> bytes:
        """The last certificate of the chain, in PEM."""
        return self.chain[-1].public_bytes(Encoding.PEM)

    @property
    def ends_in_root(self) -> bool:
        """Whether the chain includes the root, which clients have and servers need not send."""
        return len(self.chain) > 1 and self.chain[-1].issuer == self.chain[-1].subject

    def without_root(self) -> "Pair":
        """Return the pair with the chain to send to clients."""
        if not self.ends_in_root:
            return self
        sent = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.chain[:-1])
        return replace(self, certificate=sent)


def _explain(content: bytes, error: ValueError) -> str:
    if not content.strip():
        return "it is empty"
    if b"PRIVATE KEY-----" in content:
        return "it contains a private key"
    if content.startswith(b"\x30"):  # a SEQUENCE (X.690 section 8.9)
        return (
            f"it is in DER form: convert it with openssl x509 -inform DER -in FILE -out {CERTIFICATE};"
            " or, if it is a .pfx or .p12 file, with openssl pkcs12 -nodes -in FILE"
        )
    return str(error).partition(". See")[0]


def find_pair(directory: Path, name: str) -> Pair | None:
    """Return the pair of the directory, or of certbot's ``live/NAME`` in it; None if there is none.

    Raises CertificateError if one of the two files is missing or unreadable.
    """
    return read_pair(directory) or read_pair(directory / "live" / name)


def read_pair(directory: Path) -> Pair | None:
    """Return the pair of the directory itself; otherwise like `find_pair`."""
    for certificate, key in LAYOUTS:
        paths = [directory / certificate, directory / key]
        present = [path for path in paths if path.is_symlink() or path.exists()]
        if len(present) == len(paths):
            pair = Pair(_read(paths[0]), _read(paths[1]), certificate_file=certificate, key_file=key)
            return _append_chain(pair, directory / CHAIN)
        if present and (certificate, key) != LAYOUTS[1]:  # its key is also that of LAYOUTS[2]
            (missing,) = set(paths) - set(present)
            raise CertificateError(
                f"{present[0].name} is there, but {missing.name} is missing. Put both files there, or neither"
            )
    return None


def with_client_files(pair: Pair, directory: Path, ca: str, crl: str) -> Pair:
    """Return the pair with the contents of the files named by CLIENT_CA and CLIENT_CRL; an empty name: no file.

    Raises CertificateError if such a file is missing, unreadable or truncated.
    """
    for name in (ca, crl):
        if name and not (directory / name).exists():
            raise CertificateError(f"{name}, named by CLIENT_CA or CLIENT_CRL, is missing. Put the PEM file there")
    return replace(pair, client_ca=_read_complete(directory, ca), client_crl=_read_complete(directory, crl))


def _read_complete(directory: Path, name: str) -> bytes:
    """Return the PEM file; an empty one is an error, because it would mean no client CA, or nothing revoked."""
    if not name:
        return b""
    pem = _read(directory / name)
    if not pem.count(b"-----BEGIN ") or pem.count(b"-----BEGIN ") != pem.count(b"-----END "):
        raise CertificateError(f"{name} is empty or truncated. Put the complete PEM file there")
    return pem


def _append_chain(pair: Pair, chain: Path) -> Pair:
    """Append the certificates of the separate chain file if the certificate file has only the leaf."""
    if pair.certificate.count(b"-----BEGIN CERTIFICATE-----") != 1 or not chain.is_file():
        return pair
    full = pair.certificate.rstrip() + b"\n" + _read(chain)
    return replace(pair, certificate=full, certificate_file=f"{pair.certificate_file} with {CHAIN}")


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise CertificateError(f"{path.name} is not a file. Put a PEM file there")
        return path.read_bytes()
    except FileNotFoundError:
        raise CertificateError(
            f"{path.name} is a link to {path.readlink()}, which is outside this directory."
            " Put the file itself there (cp --dereference); if it is certbot's, set CERTS_DIR to /etc/letsencrypt"
        ) from None
    except OSError as error:
        raise CertificateError(f"{path.name} is unreadable ({error.strerror}). Put a readable PEM file there") from None
