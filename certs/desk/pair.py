"""The pair of certificate and key, checked the way a client will check it."""

import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from desk import CertificateError

CERTIFICATE = "server.pem"
KEY = "server.key"

_FIT = "Put a pair there with an ECDSA key on P-256, or an RSA key of 2048 bits"

# X509_V_ERR_* of openssl/x509_vfy.h
_NOT_YET_VALID, _EXPIRED, _HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH = 9, 10, 62, 64
_NO_PATH = (2, 18, 19, 20, 21)


@dataclass(frozen=True)
class Pair:
    """A certificate chain (leaf first) and its key, both in PEM."""

    certificate: bytes
    key: bytes

    @cached_property
    def _chain(self) -> list[x509.Certificate]:
        try:
            return x509.load_pem_x509_certificates(self.certificate)
        except ValueError as error:
            raise CertificateError(
                f"{CERTIFICATE} is no chain of certificates in PEM form ({error}). Put the full chain there, leaf first"
            ) from None

    @property
    def names(self) -> list[str]:
        """The names and addresses that the certificate is for."""
        try:
            names = self._chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return []
        return [str(name.value) for name in names]

    @property
    def start(self) -> datetime:
        """When all certificates of the chain are valid."""
        return max(certificate.not_valid_before_utc for certificate in self._chain)

    @property
    def expiry(self) -> datetime:
        """When the first certificate of the chain expires."""
        return min(certificate.not_valid_after_utc for certificate in self._chain)

    @property
    def issuer(self) -> bytes:
        """The last certificate of the chain, in PEM: what comes from outside of it is the client's to trust."""
        return self._chain[-1].public_bytes(Encoding.PEM)


def read_pair(directory: Path) -> Pair | None:
    """Return the pair of the directory, or None where it has neither file.

    Raises CertificateError where one is missing or unreadable.
    """
    paths = [directory / CERTIFICATE, directory / KEY]
    present = [path for path in paths if path.is_symlink() or path.exists()]
    if not present:
        return None
    for path in paths:
        if path not in present:
            raise CertificateError(
                f"{present[0].name} is there, but {path.name} is missing. Put both, or neither, there"
            )
    return Pair(*(_read(path) for path in paths))


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise CertificateError(f"{path.name} is not a file. Put a PEM file there")
        return path.read_bytes()
    except FileNotFoundError:
        raise CertificateError(
            f"{path.name} is a link to {path.readlink()}, which lies outside of this directory."
            " Put the file itself there (cp --dereference)"
        ) from None
    except OSError as error:
        raise CertificateError(f"{path.name} is unreadable ({error.strerror}). Put a readable PEM file there") from None


def check_pair(pair: Pair, domain: list[str], directory: Path) -> None:
    """Raise CertificateError unless clients of every name in `domain` that trust the chain's last issuer accept it.

    OpenSSL judges in a handshake in memory; it reads the pair from `directory`, where it lies as files.
    """
    client, server = _verifying(pair), _serving(pair, directory)
    for name in domain:
        try:
            _shake_hands(server, client, name)
        except ssl.SSLCertVerificationError as error:
            raise CertificateError(_explain(error, name, pair)) from None
        except ssl.SSLError as error:
            raise CertificateError(f"no TLS client can use {CERTIFICATE} ({error.reason}). {_FIT}") from None
        except ValueError:  # also UnicodeError: what Python takes for no host name at all
            raise CertificateError(f"DOMAIN has {name!r}, which is no host name. Correct DOMAIN") from None


def _serving(pair: Pair, directory: Path) -> ssl.SSLContext:
    try:
        load_pem_private_key(pair.key, None)
    except TypeError:
        raise CertificateError(
            f"{KEY} is encrypted. Put it there without its passphrase (openssl pkey -in KEY -out {KEY})"
        ) from None
    except ValueError:
        raise CertificateError(f"{KEY} is no private key in PEM form. Put the key of {CERTIFICATE} there") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(directory / CERTIFICATE, directory / KEY)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CertificateError(
                f"{KEY} is not the key of {CERTIFICATE}."
                f" Put the pair of one and the same issue there; the leaf comes first in {CERTIFICATE}"
            ) from None
        raise CertificateError(
            f"OpenSSL cannot serve {CERTIFICATE} with {KEY} ({error.reason or error}). {_FIT}"
        ) from None
    return context


def _verifying(pair: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    # Only the names in the SAN count, as in browsers (RFC 9525 section 2).
    context.hostname_checks_common_name = False
    context.load_verify_locations(cadata=pair.issuer.decode("ascii"))
    return context


def _shake_hands(server_context: ssl.SSLContext, client_context: ssl.SSLContext, name: str) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):  # ClientHello, the server's flight, the client's verdict
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()


def _explain(error: ssl.SSLCertVerificationError, name: str, pair: Pair) -> str:
    match error.verify_code:
        case code if code == _EXPIRED:
            return f"the certificate expired on {pair.expiry:%Y-%m-%d %H:%M} UTC. Put a renewed pair there"
        case code if code == _NOT_YET_VALID:
            return (
                f"the certificate is not valid before {pair.start:%Y-%m-%d %H:%M} UTC."
                " Set this machine's clock, or put a valid pair there"
            )
        case code if code in (_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH):
            return (
                f"the certificate is for {', '.join(pair.names) or 'no name at all'}, but DOMAIN has {name}."
                " Put a pair there that covers it, or correct DOMAIN; or empty the directory, and a development"
                " certificate is made"
            )
        case code if code in _NO_PATH:
            return (
                f"{CERTIFICATE} does not lead from its first certificate to its last one, each issued by the next."
                " Put the full chain there, leaf first"
            )
        case _:
            return f"clients will refuse the certificate ({error.verify_message}). Put another pair there"
