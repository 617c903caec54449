"""A certificate chain: put into order, and judged as clients judge it.

Clients build a path from the leaf to a root that they know. They try known roots first and sent certificates next, so
that an expired certificate which is not on the path does no harm, such as a cross-signed root (RFC 4158 section 2.4).
"""

import ssl
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import AuthorityInformationAccessOID
from OpenSSL import crypto

from certificates import CertificateError
from certificates.contents import read_contents
from certificates.development import CA_FILE
from certificates.pair import Pair

SYSTEM_ROOTS = Path("/etc/ssl/certs/ca-certificates.crt")

# X509_V_ERR_* of openssl/x509_vfy.h
_NOT_YET_VALID, _EXPIRED = 9, 10
_NO_ISSUER = (2, 18, 19, 20, 21)
# Those of X509_V_FLAG_X509_STRICT that are about an extension (RFC 5280 section 4.2.1).
_STRICT: dict[int, type[x509.ExtensionType]] = {
    **dict.fromkeys((80, 89), x509.BasicConstraints),
    **dict.fromkeys((81, 82, 92), x509.KeyUsage),
    **dict.fromkeys((85, 90), x509.AuthorityKeyIdentifier),
    **dict.fromkeys((86, 91), x509.SubjectKeyIdentifier),
    **dict.fromkeys((87, 88), x509.SubjectAlternativeName),
}


class ChainError(Exception):
    """OpenSSL's verdict: its code, its words, and the certificate that it is about."""

    def __init__(self, code: int, message: str, certificate: x509.Certificate) -> None:
        super().__init__(message)
        self.code = code
        self.certificate = certificate


def subject(certificate: x509.Certificate) -> str:
    """Return the subject for messages."""
    return certificate.subject.rfc4514_string() or "a certificate without a subject"


def in_order(leaf: x509.Certificate, others: Iterable[x509.Certificate]) -> list[x509.Certificate]:
    """Return the leaf and, level by level, those that issued what comes before; all others are left out.

    RFC 8446 section 4.4.2: each certificate certifies the one before it. Of two for the same CA, the one that is valid
    longer comes first: GnuTLS tries no other.
    """
    chain, rest = [leaf], [one for one in dict.fromkeys(others) if one != leaf]
    rest.sort(key=lambda one: one.not_valid_after_utc, reverse=True)
    for certificate in chain:  # it grows meanwhile
        for other in rest:
            if other not in chain and issued(other, certificate):
                chain.append(other)
    return chain


def issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Whether the issuer's key has signed the certificate."""
    if issuer.subject != certificate.issuer:
        return False
    with suppress(InvalidSignature, TypeError, ValueError, UnsupportedAlgorithm):
        certificate.verify_directly_issued_by(issuer)
        return True
    return False


@dataclass(frozen=True)
class Verdict:
    """How clients judge a chain that they accept."""

    path: list[x509.Certificate]
    """The certificates that a client verifies, from the leaf to the trust anchor."""
    warnings: list[str]


def check_chain(pair: Pair, roots: Iterable[Path], *, is_complete: bool = False) -> Verdict:
    """Judge the chain as clients that know `roots` do; raises CertificateError if they reject it.

    `is_complete`: whatever it ends with, no intermediate is missing.
    """
    files = [file for file in roots if file.exists()]
    known = [root for file in files if file != SYSTEM_ROOTS for root in _read_roots(file)]
    store = _store(known, SYSTEM_ROOTS if SYSTEM_ROOTS in files else None)
    try:
        return Verdict(_verify(store, pair), warnings=[])
    except ChainError as error:
        if error.code not in _NO_ISSUER:
            raise CertificateError(_explain(error, pair)) from None
        store = _store(_tops(pair) if is_complete else _private_anchors(pair, files, error))
    try:
        path = _verify(store, pair, crypto.X509StoreFlags.PARTIAL_CHAIN)
    except ChainError as error:
        raise CertificateError(_explain(error, pair)) from None
    return Verdict(path, warnings=_root_warnings(pair))


def _read_roots(file: Path) -> tuple[x509.Certificate, ...]:
    contents = read_contents(file.read_bytes(), file.name)
    if contents.certificates:
        return contents.certificates
    raise CertificateError(contents.mistake or f"{file.name} contains no PEM certificates. Correct or remove it")


def _store(roots: Iterable[x509.Certificate], file: Path | None = None) -> crypto.X509Store:
    store = crypto.X509Store()
    for root in roots:
        store.add_cert(crypto.X509.from_cryptography(root))
    if file:
        store.load_locations(str(file))
    return store


def _verify(store: crypto.X509Store, pair: Pair, flags: int = 0) -> list[x509.Certificate]:
    """Return the path from the leaf to the trust anchor."""
    store.set_flags(flags)
    leaf, *others = map(crypto.X509.from_cryptography, pair.chain)
    try:
        path = crypto.X509StoreContext(store, leaf, others).get_verified_chain()
    except crypto.X509StoreContextError as error:
        code, _, message = error.errors
        raise ChainError(code, message, error.certificate.to_cryptography()) from None
    return [certificate.to_cryptography() for certificate in path]


def _private_anchors(pair: Pair, files: list[Path], error: ChainError) -> list[x509.Certificate]:
    """Return the certificates at the top of the chain, of which clients of a private CA trust one."""
    if any(one.issuer == one.subject for one in pair.chain):
        return _tops(pair)
    last = error.certificate if error.certificate in pair.chain else pair.chain[-1]
    # If the certificate does not name the place of its issuer, that is the root of a private CA: nothing is missing.
    with suppress(x509.ExtensionNotFound):
        for access in last.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value:
            if access.access_method == AuthorityInformationAccessOID.CA_ISSUERS:
                raise CertificateError(
                    f"{pair.certificate_file} is incomplete: it ends with {subject(last)}, which is not issued by a"
                    f" root that clients know. Append the issuer's certificate ({access.access_location.value});"
                    f" or, if that is the root of a private CA, put it there as {CA_FILE}"
                )
    for file in files:
        if file != SYSTEM_ROOTS:
            raise CertificateError(
                f"{file.name} is not the root of {pair.certificate_file}, which ends with {subject(last)}, issued by"
                f" {last.issuer.rfc4514_string() or 'an unnamed CA'}."
                f" Append the missing intermediates, put that root there, or remove {file.name}"
            )
    return _tops(pair)


def _tops(pair: Pair) -> list[x509.Certificate]:
    """Return the roots in the chain; without any, the certificates whose issuer it lacks."""
    roots = [one for one in pair.chain if one.issuer == one.subject]
    return roots or [one for one in pair.chain if not any(issued(other, one) for other in pair.chain)]


def _root_warnings(pair: Pair) -> list[str]:
    if not pair.is_self_signed:
        return []
    return [
        f"{pair.certificate_file} is self-signed: clients refuse it unless each is configured to trust it."
        " Get a certificate from a CA (Let's Encrypt is free)"
    ]


def explain_strict(error: ssl.SSLCertVerificationError, path: Sequence[x509.Certificate]) -> str:
    """Return the warning for a chain that only clients with X509_V_FLAG_X509_STRICT reject."""
    extension = _STRICT.get(error.verify_code)
    faulty = next((one for one in path if extension and _is_faulty(one, extension, error.verify_code)), None)
    what = subject(faulty) if faulty else "the chain"
    named = f" (extension {extension.oid._name})" if extension else ""
    command = " (openssl req -x509 -addext keyUsage=critical,keyCertSign,cRLSign)" if extension is x509.KeyUsage else ""
    return (
        f"Python 3.13 and other strict clients refuse {what}: {error.verify_message}{named}."
        f" Reissue it as RFC 5280 requires{command}"
    )


def _is_faulty(certificate: x509.Certificate, extension: type[x509.ExtensionType], code: int) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(extension)
    except x509.ExtensionNotFound:
        is_root, is_ca = certificate.issuer == certificate.subject, _is_ca(certificate)
        # A root needs no authorityKeyIdentifier, and a leaf no keyUsage and no subjectKeyIdentifier.
        return not is_root if extension is x509.AuthorityKeyIdentifier else is_ca
    is_critical_right = found.critical == (code in (88, 89))
    return code in (80, 81, 82, 87) or (code in (88, 89, 90, 91) and not is_critical_right)


def _is_ca(certificate: x509.Certificate) -> bool:
    with suppress(x509.ExtensionNotFound):
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    return False


def _explain(error: ChainError, pair: Pair) -> str:
    certificate = error.certificate
    if certificate == pair.chain[0]:
        what, remedy = "the certificate", "Put a renewed pair there"
    else:
        kind = "root" if certificate.issuer == certificate.subject else "intermediate"
        what = f"the {kind} {subject(certificate)}"
        remedy = "Put the CA's current certificates there, as the CA offers them"
    match error.code:
        case code if code == _EXPIRED:
            return f"{what} expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC. {remedy}"
        case code if code == _NOT_YET_VALID:
            return (
                f"{what} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC (it is"
                f" {datetime.now(UTC):%Y-%m-%d %H:%M} here). Set this machine's clock, or put a valid pair there"
            )
        case _:
            return f"clients reject {subject(certificate)}: {error}. Put another pair there"
