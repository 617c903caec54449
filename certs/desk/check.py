"""Will clients accept this pair? Everything that they will look at, before they do."""

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

from desk import CertificateError
from desk.clients import check_clients
from desk.pair import CERTIFICATE, KEY, Pair

SYSTEM_ROOTS = Path("/etc/ssl/certs/ca-certificates.crt")
MIN_RSA_BITS = 2048
CURVES = ("secp256r1", "secp384r1")
WEAK_HASHES = ("md5", "sha1")

_FIT = "Put a pair there with an ECDSA key on P-256 or P-384, or an RSA key of 2048 bits"

# X509_V_ERR_* of openssl/x509_vfy.h
_NOT_YET_VALID, _EXPIRED, _HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH = 9, 10, 62, 64


def check_pair(pair: Pair, domain: list[str], directory: Path, roots: Iterable[Path] | None = ()) -> None:
    """Raise CertificateError unless clients of every name in `domain` that trust the chain's root accept the pair.

    OpenSSL judges in a handshake in memory; it reads the pair from `directory`, where it lies as files. `roots` are
    files with the roots that clients know, as far as they are there: what leads to one of them is complete. None: it is
    complete anyway.
    """
    try:
        _check_key(pair)
        _check_order(pair)
        server = _serving(pair, directory)
        _check_names(pair, domain, server)
        if roots is not None and not pair.ends_in_root:
            _check_complete(pair, domain[0], server, roots)
        check_clients(pair)
    except (ValueError, UnsupportedAlgorithm) as error:  # of cryptography, which reads some fields only when asked
        raise CertificateError(f"{pair.certificate_file} is malformed ({error}). Put another pair there") from None


def _check_names(pair: Pair, domain: list[str], server: ssl.SSLContext) -> None:
    client = _verifying(pair)
    for name in domain:
        try:
            _shake_hands(server, client, name)
        except ssl.SSLCertVerificationError as error:
            raise CertificateError(_explain(error, name, pair)) from None
        except ssl.SSLError as error:
            raise CertificateError(f"no TLS client can use {pair.certificate_file} ({error.reason}). {_FIT}") from None
        except ValueError:  # also UnicodeError: what Python takes for no host name at all
            raise CertificateError(f"DOMAIN has {name!r}, which is no host name. Correct DOMAIN") from None


def _check_key(pair: Pair) -> None:
    match pair.chain[0].public_key():
        case rsa.RSAPublicKey() as key if key.key_size >= MIN_RSA_BITS:
            pass
        case ec.EllipticCurvePublicKey() as key if key.curve.name in CURVES:
            pass
        case _:
            raise CertificateError(f"no browser accepts a key of the kind {pair.key_kind}. {_FIT}")
    for certificate in pair.without_root().chain:
        if (algorithm := certificate.signature_hash_algorithm) and algorithm.name in WEAK_HASHES:
            raise CertificateError(
                f"{_subject(certificate)} is signed with {algorithm.name.upper()}, which clients refuse."
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
            f"{pair.key_file} is no private key in PEM form. Put the key of {pair.certificate_file} there"
        ) from None
    if key_of_file.public_key() != pair.chain[0].public_key():
        raise CertificateError(
            f"{pair.key_file} is not the key of {pair.certificate_file}."
            f" Put the pair of one and the same issue there; the leaf comes first in {pair.certificate_file}"
        )


def _check_order(pair: Pair) -> None:
    # RFC 8446 section 4.4.2. OpenSSL would find its way through a disorder, other clients do not.
    for certificate, issuer in pairwise(pair.chain):
        if not _issued(issuer, certificate):
            raise CertificateError(
                f"{pair.certificate_file} does not lead from its first certificate to its last one, each issued by the"
                f" next: {_subject(certificate)} is not by {_subject(issuer)}. Put the full chain there, leaf first"
            )


def _check_complete(pair: Pair, name: str, server: ssl.SSLContext, roots: Iterable[Path]) -> None:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for file in roots:
        if file.exists():
            try:
                client.load_verify_locations(file)
            except ssl.SSLError as error:
                raise CertificateError(
                    f"{file.name} has no certificates in PEM form ({error.reason}). Correct or remove it"
                ) from None
    try:
        _shake_hands(server, client, name)
    except ssl.SSLCertVerificationError:
        pass
    else:
        return
    last = pair.chain[-1]
    # Where nobody says where the issuer's certificate is to be had, there is none to be had: a private CA's root.
    with suppress(x509.ExtensionNotFound):
        for access in last.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value:
            if access.access_method == AuthorityInformationAccessOID.CA_ISSUERS:
                raise CertificateError(
                    f"{pair.certificate_file} is incomplete: it ends with {_subject(last)}, which is issued by none of"
                    f" the roots that clients know. Append the issuer's certificate ({access.access_location.value});"
                    " or, if that is the root of a CA of your own, put it beside as ca.pem"
                )
    for file in roots if last.issuer != last.subject else ():
        if file != SYSTEM_ROOTS and file.exists():
            raise CertificateError(
                f"{file.name} is not the root of {pair.certificate_file}, which ends with {_subject(last)}, issued by"
                f" {last.issuer.rfc4514_string() or 'nobody'}. Append what is between the two, put that root there,"
                f" or remove {file.name}"
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


def _serving(pair: Pair, directory: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(directory / CERTIFICATE, directory / KEY)
    except ssl.SSLError as error:
        raise CertificateError(
            f"OpenSSL cannot serve {pair.certificate_file} with {pair.key_file} ({error.reason or error}). {_FIT}"
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
        case _:
            return f"clients will refuse the certificate ({error.verify_message}). Put another pair there"
