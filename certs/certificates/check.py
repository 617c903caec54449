"""Check a pair as clients do, before it is published."""

import ssl
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, PublicKeyAlgorithmOID

from certificates import CertificateError
from certificates.chain import Verdict, check_chain, explain_strict, subject
from certificates.clients import check_clients
from certificates.domain import concrete, covers
from certificates.pair import Pair, to_pem
from certificates.volume import CERTIFICATE, KEY

MIN_RSA_BITS = 2048
# Go and Chromium refuse longer ones: a denial of service (Go issue 61460).
MAX_RSA_BITS = 8192
CURVES = ("secp256r1", "secp384r1")
WEAK_HASHES = ("md5", "sha1")
# OpenSSL's default for SSL_CTX_set_max_cert_list.
MAX_CHAIN_SIZE = 100 * 1024  # bytes in DER

_KEY_REMEDY = "Put a pair there with an ECDSA key on P-256 or P-384, or an RSA key of 2048 to 8192 bits"

# X509_V_ERR_* of openssl/x509_vfy.h
_WRONG_PURPOSE, _HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH, _NOT_CRITICAL_SAN = 26, 62, 64, 88


def check_pair(
    pair: Pair, domain: list[str], directory: Path, roots: Iterable[Path] = (), *, is_complete: bool = False
) -> Pair:
    """Return the pair with its path and with warnings in `notes`; raises CertificateError if clients reject it.

    A handshake in memory, with the files in `directory`, has the last word. `roots`: files with the roots that clients
    know; missing files are ignored. `is_complete`: as in `check_chain`.
    """
    try:
        _check_key(pair)
        verdict = check_chain(pair, roots, is_complete=is_complete)
        _check_size(pair)
        server, client = _server_context(pair, directory), _client_context(to_pem(verdict.path[-1:]))
        # A handshake for each of 500 names would take seconds. Wildcards are OpenSSL's to judge.
        for name in [domain[0], *(name for name in domain[1:] if name not in pair.names)]:
            _check_name(name, pair, server, client)
        warnings = [*verdict.warnings, *_strict_warnings(domain[0], verdict, server, client)]
        warnings += check_clients(pair)
    except (ValueError, UnsupportedAlgorithm) as error:  # cryptography parses some fields only on access
        raise CertificateError(f"{pair.certificate_file} is malformed ({error}). Put another pair there") from None
    return replace(pair, path=tuple(verdict.path), notes=(*pair.notes, *warnings))


def _check_key(pair: Pair) -> None:
    leaf = pair.chain[0]
    if leaf.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
        raise CertificateError(f"browsers reject the key type RSASSA-PSS. {_KEY_REMEDY}")
    match leaf.public_key():
        case rsa.RSAPublicKey() as key if MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            pass
        case ec.EllipticCurvePublicKey() as key if key.curve.name in CURVES:
            pass
        case _:
            raise CertificateError(f"browsers reject the key type {pair.key_type}. {_KEY_REMEDY}")
    for certificate in pair.without_root().chain:
        _check_authority(certificate)
    key_of_file = load_pem_private_key(pair.key, None, unsafe_skip_rsa_key_validation=True)  # as in contents.py
    if key_of_file.public_key() != leaf.public_key():
        raise CertificateError(f"{pair.key_file} is not the key of {pair.certificate_file}. Put its key there")


def _check_authority(certificate: x509.Certificate) -> None:
    """Raise CertificateError if the certificate's signature, or a CA's key, can be broken or is unknown to browsers."""
    algorithm = certificate.signature_hash_algorithm
    if algorithm is None:
        name = certificate.signature_algorithm_oid._name
        raise CertificateError(f"{subject(certificate)} is signed with {name}, which browsers reject. {_KEY_REMEDY}")
    if algorithm.name in WEAK_HASHES:
        raise CertificateError(
            f"{subject(certificate)} is signed with {algorithm.name.upper()}, which clients reject."
            " Put a pair there that is signed with SHA-256"
        )
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        raise CertificateError(
            f"{subject(certificate)} has a key of type RSA {key.key_size}, which clients reject."
            " Put a pair of another CA there"
        )


def _check_size(pair: Pair) -> None:
    size = sum(len(certificate.tbs_certificate_bytes) for certificate in pair.without_root().chain)
    if size > MAX_CHAIN_SIZE:
        raise CertificateError(
            f"{pair.certificate_file} has {size} bytes of certificates, and clients accept {MAX_CHAIN_SIZE}."
            " Put a certificate with fewer names there, and no certificates that are not needed"
        )


def _check_name(name: str, pair: Pair, server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    if name.startswith("*.") and not covers(pair.names, name):
        raise CertificateError(_wrong_name(name, pair))
    try:
        _handshake(server, client, concrete(name))
    except ssl.SSLCertVerificationError as error:
        raise CertificateError(_explain(error, name, pair)) from None
    except ssl.SSLError as error:
        raise CertificateError(
            f"OpenSSL's client cannot use {pair.certificate_file} ({error.reason or error}). Put another pair there"
        ) from None
    except ValueError:  # includes UnicodeError: Python rejects the host name
        raise CertificateError(f"DOMAIN has {name!r}, which is not a valid host name. Correct DOMAIN") from None


def _strict_warnings(name: str, verdict: Verdict, server: ssl.SSLContext, client: ssl.SSLContext) -> list[str]:
    # The default of ssl.create_default_context since Python 3.13.
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        _handshake(server, client, concrete(name))
    except ssl.SSLCertVerificationError as error:
        warning = explain_strict(error, verdict.path)
        if error.verify_code == _NOT_CRITICAL_SAN:
            raise CertificateError(f"{warning}. Chromium refuses it, too") from None
        return [warning]
    return []


def _server_context(pair: Pair, directory: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(directory / CERTIFICATE, directory / KEY)
    except ssl.SSLError as error:
        raise CertificateError(
            f"OpenSSL cannot load {pair.certificate_file} with {pair.key_file} ({error.reason or error})."
            " Put another pair there"
        ) from None
    return context


def _client_context(anchor: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The anchor of a private CA need not be a root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    # As in browsers, only the SAN counts (RFC 9525 section 2).
    context.hostname_checks_common_name = False
    context.load_verify_locations(cadata=anchor.decode("ascii"))
    return context


def _handshake(server_context: ssl.SSLContext, client_context: ssl.SSLContext, name: str) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):  # ClientHello, ServerHello to Finished, the client's verification
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()


def _wrong_name(name: str, pair: Pair) -> str:
    return (
        f"the certificate is for {', '.join(pair.names) or 'no name'}, but DOMAIN has {name}."
        " Put a pair there that covers it, or correct DOMAIN"
    )


def _not_for_servers(pair: Pair) -> str:
    for certificate in pair.chain:
        with suppress(x509.ExtensionNotFound):
            usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            if ExtendedKeyUsageOID.SERVER_AUTH not in usage:
                return subject(certificate)
    return "the certificate"


def _explain(error: ssl.SSLCertVerificationError, name: str, pair: Pair) -> str:
    match error.verify_code:
        case code if code in (_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH):
            return _wrong_name(name, pair)
        case code if code == _WRONG_PURPOSE:
            return (
                f"{_not_for_servers(pair)} is not for servers: its extendedKeyUsage lacks serverAuth. Put another there"
            )
        case _:
            return f"clients will reject the certificate ({error.verify_message}). Put another pair there"
