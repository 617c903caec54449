"""Check a pair as clients do, before it is published."""

import ssl
from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import AuthorityInformationAccessOID

from certificates import CertificateError
from certificates.clients import check_clients
from certificates.development import CA_FILE
from certificates.pair import Pair
from certificates.volume import CERTIFICATE, KEY

SYSTEM_ROOTS = Path("/etc/ssl/certs/ca-certificates.crt")
MIN_RSA_BITS = 2048
CURVES = ("secp256r1", "secp384r1")
WEAK_HASHES = ("md5", "sha1")

_KEY_REMEDY = "Put a pair there with an ECDSA key on P-256 or P-384, or an RSA key of 2048 bits"

# X509_V_ERR_* of openssl/x509_vfy.h
_NOT_YET_VALID, _EXPIRED, _HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH = 9, 10, 62, 64


def check_pair(pair: Pair, domain: list[str], directory: Path, roots: Iterable[Path] | None = ()) -> None:
    """Raise CertificateError unless clients that trust the chain's root accept the pair for every name in `domain`.

    OpenSSL verifies it in a handshake in memory, with the files in `directory`. `roots`: files with the roots that
    clients know; missing files are ignored. The chain is complete if it leads to one of them. None: skip this check.
    """
    try:
        _check_key(pair)
        _check_order(pair)
        server = _server_context(pair, directory)
        _check_names(pair, domain, server)
        if roots is not None and not pair.ends_in_root:
            _check_complete(pair, domain[0], server, roots)
        check_clients(pair)
    except (ValueError, UnsupportedAlgorithm) as error:  # cryptography parses some fields only on access
        raise CertificateError(f"{pair.certificate_file} is malformed ({error}). Put another pair there") from None


def _check_names(pair: Pair, domain: list[str], server: ssl.SSLContext) -> None:
    client = _client_context(pair)
    for name in domain:
        try:
            _handshake(server, client, name)
        except ssl.SSLCertVerificationError as error:
            raise CertificateError(_explain(error, name, pair)) from None
        except ssl.SSLError as error:
            raise CertificateError(
                f"no TLS client can use {pair.certificate_file} ({error.reason}). {_KEY_REMEDY}"
            ) from None
        except ValueError:  # includes UnicodeError: Python rejects the host name
            raise CertificateError(f"DOMAIN has {name!r}, which is not a valid host name. Correct DOMAIN") from None


def _check_key(pair: Pair) -> None:
    match pair.chain[0].public_key():
        case rsa.RSAPublicKey() as key if key.key_size >= MIN_RSA_BITS:
            pass
        case ec.EllipticCurvePublicKey() as key if key.curve.name in CURVES:
            pass
        case _:
            raise CertificateError(f"browsers reject the key type {pair.key_type}. {_KEY_REMEDY}")
    for certificate in pair.without_root().chain:
        if (algorithm := certificate.signature_hash_algorithm) and algorithm.name in WEAK_HASHES:
            raise CertificateError(
                f"{_subject(certificate)} is signed with {algorithm.name.upper()}, which clients reject."
                " Put a pair there that is signed with SHA-256"
            )
    try:
        key_of_file = load_pem_private_key(pair.key, None)
    except TypeError:
        raise CertificateError(
            f"{pair.key_file} is encrypted. Put it there without its passphrase"
            f" (openssl pkey -in {pair.key_file} -out {pair.key_file})"
        ) from None
    except ValueError:
        raise CertificateError(
            f"{pair.key_file} is not a PEM private key. Put the key of {pair.certificate_file} there"
        ) from None
    if key_of_file.public_key() != pair.chain[0].public_key():
        raise CertificateError(
            f"{pair.key_file} is not the key of {pair.certificate_file}."
            f" Put certificate and key of the same issuance there; the leaf comes first in {pair.certificate_file}"
        )


def _check_order(pair: Pair) -> None:
    # RFC 8446 section 4.4.2. OpenSSL accepts certificates in any order, other clients do not.
    for certificate, issuer in pairwise(pair.chain):
        if not _issued(issuer, certificate):
            raise CertificateError(
                f"{pair.certificate_file} is out of order: each certificate must be issued by the next, but"
                f" {_subject(certificate)} is not issued by {_subject(issuer)}. Put the full chain there, leaf first"
            )


def _check_complete(pair: Pair, name: str, server: ssl.SSLContext, roots: Iterable[Path]) -> None:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for file in roots:
        if file.exists():
            try:
                client.load_verify_locations(file)
            except ssl.SSLError as error:
                raise CertificateError(
                    f"{file.name} contains no PEM certificates ({error.reason}). Correct or remove it"
                ) from None
    try:
        _handshake(server, client, name)
    except ssl.SSLCertVerificationError:
        pass
    else:
        return
    last = pair.chain[-1]
    # If the certificate does not say where to get its issuer, that is the root of a private CA: the chain is complete.
    with suppress(x509.ExtensionNotFound):
        for access in last.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value:
            if access.access_method == AuthorityInformationAccessOID.CA_ISSUERS:
                raise CertificateError(
                    f"{pair.certificate_file} is incomplete: it ends with {_subject(last)}, which is not issued by a"
                    f" root that clients know. Append the issuer's certificate ({access.access_location.value});"
                    f" or, if that is the root of a private CA, put it there as {CA_FILE}"
                )
    for file in roots if last.issuer != last.subject else ():
        if file != SYSTEM_ROOTS and file.exists():
            raise CertificateError(
                f"{file.name} is not the root of {pair.certificate_file}, which ends with {_subject(last)}, issued by"
                f" {last.issuer.rfc4514_string() or 'an unnamed CA'}."
                f" Append the missing intermediates, put that root there, or remove {file.name}"
            )


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    if issuer.subject != certificate.issuer:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True


def _subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "a certificate without a subject"


def _server_context(pair: Pair, directory: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(directory / CERTIFICATE, directory / KEY)
    except ssl.SSLError as error:
        raise CertificateError(
            f"OpenSSL cannot load {pair.certificate_file} with {pair.key_file} ({error.reason or error}). {_KEY_REMEDY}"
        ) from None
    return context


def _client_context(pair: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The last certificate is the trust anchor, whether it is a root or not.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    # As in browsers, only the SAN counts (RFC 9525 section 2).
    context.hostname_checks_common_name = False
    context.load_verify_locations(cadata=pair.last.decode("ascii"))
    return context


def _handshake(server_context: ssl.SSLContext, client_context: ssl.SSLContext, name: str) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):  # ClientHello, ServerHello to Finished, the client's verification
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
                f"the certificate is for {', '.join(pair.names) or 'no name'}, but DOMAIN has {name}."
                " Put a pair there that covers it, or correct DOMAIN; or empty the directory to get a development"
                " certificate"
            )
        case _:
            return f"clients will reject the certificate ({error.verify_message}). Put another pair there"
