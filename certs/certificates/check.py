"""Check a pair as clients do, before it is published."""

import ssl
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import PublicKeyAlgorithmOID

from certificates import CertificateError
from certificates.chain import check_chain, subject
from certificates.clients import check_clients
from certificates.domain import concrete
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
_WRONG_PURPOSE, _HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH = 26, 62, 64


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
        for name in domain:
            _check_name(name, pair, server, client)
        check_clients(pair)
    except (ValueError, UnsupportedAlgorithm) as error:  # cryptography parses some fields only on access
        raise CertificateError(f"{pair.certificate_file} is malformed ({error}). Put another pair there") from None
    return replace(pair, path=tuple(verdict.path), notes=(*pair.notes, *verdict.warnings))


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
        if (algorithm := certificate.signature_hash_algorithm) and algorithm.name in WEAK_HASHES:
            raise CertificateError(
                f"{subject(certificate)} is signed with {algorithm.name.upper()}, which clients reject."
                " Put a pair there that is signed with SHA-256"
            )
    key_of_file = load_pem_private_key(pair.key, None, unsafe_skip_rsa_key_validation=True)  # as in contents.py
    if key_of_file.public_key() != leaf.public_key():
        raise CertificateError(f"{pair.key_file} is not the key of {pair.certificate_file}. Put its key there")


def _check_size(pair: Pair) -> None:
    size = sum(len(certificate.tbs_certificate_bytes) for certificate in pair.without_root().chain)
    if size > MAX_CHAIN_SIZE:
        raise CertificateError(
            f"{pair.certificate_file} has {size} bytes of certificates, and clients accept {MAX_CHAIN_SIZE}."
            " Put a certificate with fewer names there, and no certificates that are not needed"
        )


def _check_name(name: str, pair: Pair, server: ssl.SSLContext, client: ssl.SSLContext) -> None:
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


def _explain(error: ssl.SSLCertVerificationError, name: str, pair: Pair) -> str:
    match error.verify_code:
        case code if code in (_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH):
            return (
                f"the certificate is for {', '.join(pair.names) or 'no name'}, but DOMAIN has {name}."
                " Put a pair there that covers it, or correct DOMAIN"
            )
        case code if code == _WRONG_PURPOSE:
            return (
                "the certificate is not for servers: its extendedKeyUsage lacks serverAuth. Put a server certificate"
                " there"
            )
        case _:
            return f"clients will reject the certificate ({error.verify_message}). Put another pair there"
