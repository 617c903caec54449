"""The fifth check: do clients accept the certificate, and for how long?"""

import ssl
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from doctor.chain import NO_ISSUER, UNREADABLE, fetch_missing, path_from_leaf
from doctor.context import Context
from doctor.finding import Finding, good, problem, warning

# X509_V_ERR_* of openssl/x509_vfy.h
_NOT_YET_VALID, _EXPIRED, _SELF_SIGNED, _HOSTNAME_MISMATCH, _ADDRESS_MISMATCH = 9, 10, 18, 62, 64
_WEAK = (66, 67, 68)  # the leaf's key, a CA's key, a signature
_TRUSTED_CA = "a CA that this client trusts (--ca, or this machine's trust store) is outside its validity period"

EXPIRES_SOON = timedelta(days=14)


def sent_chain(connection: ssl.SSLSocket) -> list[x509.Certificate]:
    """Return the certificates that the server sent, accepted or not."""
    # Public since Python 3.13; before that, a method of the internal object.
    source = connection if hasattr(connection, "get_unverified_chain") else getattr(connection, "_sslobj", None)
    served = source.get_unverified_chain() if source else None
    chain = []
    for certificate in served or ():
        blob = certificate if isinstance(certificate, bytes) else certificate.public_bytes(2)  # _ssl.ENCODING_DER
        with suppress(*UNREADABLE):
            chain.append(x509.load_der_x509_certificate(blob))
    return chain


def check_certificate(context: Context) -> Iterator[Finding]:
    """Is the chain complete, trusted and within its validity period, and is it for this name?"""
    if not context.chain:
        yield (
            _refused(context.verify_error)
            if context.verify_error
            else good("accepted; its details are not available, because it is malformed")
        )
        return
    if context.verify_error:
        yield _verification_problem(context, context.verify_error)
        return
    leaf = context.chain[0]
    yield good(
        f"for {names_of(leaf)}; issued by {issuer_of(leaf)}; {_key(leaf)}; {len(context.chain)} in the chain; valid"
        f" until {leaf.not_valid_after_utc:%Y-%m-%d} ({_time_left(leaf).days} days)"
    )
    lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    if _time_left(leaf) < min(EXPIRES_SOON, lifetime / 4):
        yield warning(
            "certificate-soon",
            f"it expires in {_time_left(leaf).days} days",
            "a renewal is due: it has not happened, or the server still serves the old certificate",
            "Renew it; if it is renewed, reload the server (this stack does it by itself: docker compose logs certs)",
        )
    if not _is_accepted_by_browsers(leaf):
        yield warning(
            "certificate-key",
            f"its key is {_key(leaf)}",
            "browsers accept only RSA keys of at least 2048 bits, P-256 and P-384",
            "Reissue it with an ECDSA key on P-256",
        )
    for certificate in context.chain:
        if _signature_hash(certificate) == "no hash":  # Ed25519 and others include it
            yield warning(
                "certificate-signature",
                f"{_short_name(certificate.subject)} is signed with an algorithm that browsers do not know",
                "browsers accept only signatures with RSA keys, P-256 and P-384",
                "Reissue it with a CA that has an ECDSA key on P-256",
            )
            break
    if error := _strict_error(context):
        yield warning(
            "certificate-strict",
            f"strict clients refuse it ({error})",
            "Python 3.13 and others enforce RFC 5280, and this certificate or its CA does not comply",
            "Reissue it with a current tool",
        )


def names_of(leaf: x509.Certificate) -> str:
    """Return the names that clients may connect by."""
    with suppress(x509.ExtensionNotFound, *UNREADABLE):
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return ", ".join(str(name.value) for name in names if isinstance(name, (x509.DNSName, x509.IPAddress)))
    return "no name (clients read subjectAltName, and ignore the common name)"


def issuer_of(certificate: x509.Certificate) -> str:
    return _short_name(certificate.issuer)


def _verification_problem(context: Context, error: ssl.SSLCertVerificationError) -> Finding:
    leaf = context.chain[0]
    match error.verify_code:
        case code if code == _EXPIRED:
            late = next((one for one in context.chain if _time_left(one) <= timedelta()), None)
            return problem(
                "certificate-expired",
                f"{_short_name(late.subject)} expired on {late.not_valid_after_utc:%Y-%m-%d}" if late else _TRUSTED_CA,
                "no client accepts it" + ("" if late is leaf else "; it is not the leaf"),
                "Renew it and reload the server; if it is renewed on disk, the server still serves the old one",
            )
        case code if code == _NOT_YET_VALID:
            early = next((one for one in context.chain if one.not_valid_before_utc > datetime.now(UTC)), None)
            return problem(
                "certificate-not-yet",
                f"{_short_name(early.subject)} is valid only from {early.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
                if early
                else _TRUSTED_CA,
                "no client accepts it yet, or this machine's clock is wrong",
                "Wait, or correct the clock of the machine that issued it, or of this one",
            )
        case code if code == _HOSTNAME_MISMATCH:
            return problem(
                "certificate-name",
                f"it is for {names_of(leaf)}, not for {context.host}",
                "the certificate belongs to another name, or the server sends another site's certificate",
                f"Connect by one of its names, or get a certificate for {context.host} and serve it for this name",
            )
        case code if code == _ADDRESS_MISMATCH:
            return problem(
                "certificate-address",
                f"it is for {names_of(leaf)}, not for the address {context.host}",
                "nearly all certificates are for names only",
                "Connect by the name",
            )
        case code if code in _WEAK:
            return problem(
                "certificate-weak",
                f"{error.verify_message} ({_key(leaf)}, signed with {_signature_hash(leaf)})",
                "current clients refuse keys and signatures that can be broken",
                "Reissue it: an ECDSA key on P-256, or an RSA key of at least 2048 bits, signed with SHA-256",
            )
        case code if code == _SELF_SIGNED:
            return problem(
                "certificate-self-signed",
                f"{_short_name(leaf.subject)} is self-signed",
                "no CA signed it, so each client must be configured to trust it",
                "Get one from a CA (Let's Encrypt is free); for development, make clients trust it: --ca FILE",
            )
        case code if code in NO_ISSUER:
            return _unknown_issuer(context)
    return _refused(error)


def _refused(error: ssl.SSLCertVerificationError) -> Finding:
    return problem(
        "certificate-refused",
        error.verify_message,
        "clients that verify certificates refuse it",
        "Reissue it with a current tool",
    )


def _unknown_issuer(context: Context) -> Finding:
    """If the chain verifies with the missing intermediates, which browsers fetch, it is only incomplete."""
    last = path_from_leaf(context.chain)[-1]
    if found := fetch_missing(context):
        return problem(
            "certificate-incomplete",
            f"the intermediate {', '.join(_short_name(certificate.subject) for certificate in found)} is not sent",
            "browsers fetch it themselves and connect; Android, WeChat, Python, Node and curl do not",
            "Serve the full chain, leaf first (certbot: fullchain.pem instead of cert.pem)",
        )
    return problem(
        "certificate-unknown-ca",
        f"the chain ends at {issuer_of(last)}, which this client does not trust",
        "it is a private, development or staging CA; or an intermediate is missing and cannot be fetched",
        "Trust the CA: --ca FILE (this stack: --ca certs/live/ca.pem); for the public, use a public CA",
    )


def _strict_error(context: Context) -> str:
    ssl_context = context.ssl_context()
    ssl_context.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        with context.open_tls(ssl_context) as connection:
            connection.do_handshake()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except OSError:
        pass
    return ""


def _time_left(certificate: x509.Certificate) -> timedelta:
    return certificate.not_valid_after_utc - datetime.now(UTC)


def _key(certificate: x509.Certificate) -> str:
    try:
        key = certificate.public_key()
    except UNREADABLE:
        return "unknown"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    return str(getattr(getattr(key, "curve", None), "name", type(key).__name__))


def _is_accepted_by_browsers(leaf: x509.Certificate) -> bool:
    return _key(leaf) in ("secp256r1", "secp384r1") or _key(leaf).startswith("RSA")


def _signature_hash(certificate: x509.Certificate) -> str:
    with suppress(*UNREADABLE):
        if algorithm := certificate.signature_hash_algorithm:
            return algorithm.name.upper()
    return "no hash"


def _short_name(name: x509.Name) -> str:
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME) or name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return str(common[0].value) if common else name.rfc4514_string() or "(no name)"
