"""A certificate chain and its key, as they lie in a directory."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from desk import CertificateError

CERTIFICATE = "server.pem"
KEY = "server.key"
CHAIN = "chain.pem"
# The first that is there counts. The others are certbot's.
LAYOUTS = ((CERTIFICATE, KEY), ("fullchain.pem", "privkey.pem"), ("cert.pem", "privkey.pem"))


@dataclass(frozen=True)
class Pair:
    """A certificate chain (leaf first) and its key, both in PEM, and what their files are called."""

    certificate: bytes
    key: bytes
    client_ca: bytes = b""
    """The CAs, in PEM, of whom a client needs a certificate; empty: it needs none."""
    client_crl: bytes = b""
    """What these have revoked, in PEM; empty: nothing."""
    certificate_file: str = field(default=CERTIFICATE, compare=False)
    key_file: str = field(default=KEY, compare=False)

    @cached_property
    def chain(self) -> list[x509.Certificate]:
        """The certificates, leaf first; raises CertificateError where there are none."""
        try:
            return x509.load_pem_x509_certificates(self.certificate)
        except ValueError as error:
            what_it_is = _what_it_is(self.certificate, error)
            raise CertificateError(
                f"{self.certificate_file} is no chain of certificates in PEM form ({what_it_is})."
                " Put the full chain there, leaf first"
            ) from None

    @property
    def names(self) -> list[str]:
        """The names and addresses that the certificate is for."""
        try:
            names = self.chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return []
        return [str(name.value) for name in names]

    @property
    def key_kind(self) -> str:
        """The kind and size of the key, as in ``ECDSA secp256r1``."""
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
        """Whole days until then; negative afterwards."""
        return (self.expiry - datetime.now(UTC)).days

    @property
    def issuer(self) -> bytes:
        """The last certificate of the chain, in PEM: what comes from outside of it is the client's to trust."""
        return self.chain[-1].public_bytes(Encoding.PEM)

    @property
    def ends_in_root(self) -> bool:
        """Whether the root came along: clients have their own, and need not be sent it."""
        return len(self.chain) > 1 and self.chain[-1].issuer == self.chain[-1].subject

    def without_root(self) -> "Pair":
        """Return what is to be sent to clients."""
        if not self.ends_in_root:
            return self
        sent = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.chain[:-1])
        return replace(self, certificate=sent)


def _what_it_is(content: bytes, error: ValueError) -> str:
    if not content.strip():
        return "it is empty"
    if b"PRIVATE KEY-----" in content:
        return "it holds a private key"
    if content.startswith(b"\x30"):  # a SEQUENCE (X.690 section 8.9)
        return (
            "it is in DER form: openssl x509 -inform DER -in FILE -out server.pem;"
            " or, of a .pfx or .p12: openssl pkcs12 -nodes -in FILE"
        )
    return str(error).partition(". See")[0]


def find_pair(directory: Path, name: str) -> Pair | None:
    """Return the pair of the directory, or of certbot's ``live/NAME`` in it; None where neither has a file of one.

    Raises CertificateError where one of the two files is missing or unreadable.
    """
    return read_pair(directory) or read_pair(directory / "live" / name)


def read_pair(directory: Path) -> Pair | None:
    """Return the pair of this very directory; like `find_pair`."""
    for certificate, key in LAYOUTS:
        paths = [directory / certificate, directory / key]
        present = [path for path in paths if path.is_symlink() or path.exists()]
        if len(present) == len(paths):
            pair = Pair(_read(paths[0]), _read(paths[1]), certificate_file=certificate, key_file=key)
            return _with_chain(pair, directory / CHAIN)
        if present and (certificate, key) != LAYOUTS[1]:  # it shares its key with the next
            (missing,) = set(paths) - set(present)
            raise CertificateError(
                f"{present[0].name} is there, but {missing.name} is missing. Put both, or neither, there"
            )
    return None


def with_clients(pair: Pair, directory: Path, ca: str, crl: str) -> Pair:
    """Return the pair with whom clients need a certificate of: the files of these names, as far as they have one.

    Raises CertificateError where such a file is missing or unreadable.
    """
    for name in (ca, crl):
        if name and not (directory / name).exists():
            raise CertificateError(f"{name} is missing, which CLIENT_CA or CLIENT_CRL names. Put it there, in PEM form")
    return replace(pair, client_ca=_whole(directory, ca), client_crl=_whole(directory, crl))


def _whole(directory: Path, name: str) -> bytes:
    """Return the PEM file of this name; an empty one would mean that no certificate is needed, or none revoked."""
    if not name:
        return b""
    pem = _read(directory / name)
    if not pem.count(b"-----BEGIN ") or pem.count(b"-----BEGIN ") != pem.count(b"-----END "):
        raise CertificateError(f"{name} is empty or cut off. Put the whole file there, in PEM form")
    return pem


def _with_chain(pair: Pair, chain: Path) -> Pair:
    """Append the certificates of a separate file to a lone leaf."""
    if pair.certificate.count(b"-----BEGIN CERTIFICATE-----") != 1 or not chain.is_file():
        return pair
    whole = pair.certificate.rstrip() + b"\n" + _read(chain)
    return replace(pair, certificate=whole, certificate_file=f"{pair.certificate_file} with {CHAIN}")


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise CertificateError(f"{path.name} is not a file. Put a PEM file there")
        return path.read_bytes()
    except FileNotFoundError:
        raise CertificateError(
            f"{path.name} is a link to {path.readlink()}, which lies outside of this directory."
            " Put the file itself there (cp --dereference), or set CERTS_DIR to /etc/letsencrypt if it is certbot's"
        ) from None
    except OSError as error:
        raise CertificateError(f"{path.name} is unreadable ({error.strerror}). Put a readable PEM file there") from None
