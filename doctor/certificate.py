"""The fifth step: do clients accept the certificate, and for how long?"""

import ssl
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from doctor.chain import NO_ISSUER, UNREADABLE, path, what_is_missing
from doctor.finding import Finding, good, problem, warning
from doctor.route import Route

# X509_V_ERR_* of openssl/x509_vfy.h
_NOT_YET_VALID, _EXPIRED, _SELF_SIGNED, _HOSTNAME_MISMATCH, _ADDRESS_MISMATCH = 9, 10, 18, 62, 64
_WEAK = (66, 67, 68)  # the leaf's key, a CA's key, a signature
_OF_A_CA = "the dates of a CA that this client trusts do not hold (--ca, or this machine's trust store)"

SOON = timedelta(days=14)


def certificates_of(connection: ssl.SSLSocket) -> list[x509.Certificate]:
    """Return what the server sent, whether it was accepted or not."""
    # Public since Python 3.13; before, on the object inside.
    source = connection if hasattr(connection, "get_unverified_chain") else getattr(connection, "_sslobj", None)
    served = source.get_unverified_chain() if source else None
    chain = []
    for certificate in served or ():
        blob = certificate if isinstance(certificate, bytes) else certificate.public_bytes(2)  # _ssl.ENCODING_DER
        with suppress(*UNREADABLE):
            chain.append(x509.load_der_x509_certificate(blob))
    return chain


def judge(route: Route) -> Iterator[Finding]:
    """Is the chain complete and trusted, do the dates hold, is it for this name?"""
    if not route.chain:
        yield (
            _refused(route.refusal) if route.refusal else good("accepted; it cannot be shown, because it is malformed")
        )
        return
    if route.refusal:
        yield _explain(route, route.refusal)
        return
    leaf = route.chain[0]
    yield good(
        f"for {names_of(leaf)}; by {issuer_of(leaf)}; {_key(leaf)}; {len(route.chain)} in the chain; until"
        f" {leaf.not_valid_after_utc:%Y-%m-%d} ({_left(leaf).days} days)"
    )
    lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    if _left(leaf) < min(SOON, lifetime / 4):
        yield warning(
            "certificate-soon",
            f"it ends in {_left(leaf).days} days",
            "a renewal is due by now, and has not happened or is not served",
            "Renew it; if it is renewed, reload the server (here that happens by itself: docker compose logs certs)",
        )
    if not _is_for_browsers(leaf):
        yield warning(
            "certificate-key",
            f"its key is {_key(leaf)}",
            "browsers take RSA keys of 2048 bits and more, P-256 and P-384, and no others",
            "Issue it anew with an ECDSA key on P-256",
        )
    if refusal := _strictly(route):
        yield warning(
            "certificate-strict",
            f"strict clients refuse it ({refusal})",
            "Python 3.13 and others hold certificates to RFC 5280, and this one or its CA does not comply",
            "Issue it anew with a current tool",
        )


def names_of(leaf: x509.Certificate) -> str:
    """Return the names that clients may connect by."""
    with suppress(x509.ExtensionNotFound, *UNREADABLE):
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return ", ".join(str(name.value) for name in names if isinstance(name, (x509.DNSName, x509.IPAddress)))
    return "no name at all (clients look at subjectAltName, and at no common name)"


def issuer_of(certificate: x509.Certificate) -> str:
    return _short(certificate.issuer)


def _explain(route: Route, error: ssl.SSLCertVerificationError) -> Finding:
    leaf = route.chain[0]
    match error.verify_code:
        case code if code == _EXPIRED:
            late = next((one for one in route.chain if _left(one) <= timedelta()), None)
            return problem(
                "certificate-expired",
                f"{_short(late.subject)} expired on {late.not_valid_after_utc:%Y-%m-%d}" if late else _OF_A_CA,
                "no client accepts it any more" + ("" if late is leaf else "; it is not the leaf"),
                "Renew it and reload the server; if it is renewed on disk, the server still serves the old one",
            )
        case code if code == _NOT_YET_VALID:
            early = next((one for one in route.chain if one.not_valid_before_utc > datetime.now(UTC)), None)
            return problem(
                "certificate-not-yet",
                f"{_short(early.subject)} is valid from {early.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on"
                if early
                else _OF_A_CA,
                "no client accepts it yet; or this machine's clock is wrong",
                "Wait, or set the clock of the machine that issued it, or of this one",
            )
        case code if code == _HOSTNAME_MISMATCH:
            return problem(
                "certificate-name",
                f"it is for {names_of(leaf)}, and not for {route.host}",
                "the certificate belongs to another name, or another site's certificate answers here",
                f"Connect by one of its names, or get a certificate for {route.host} and serve it under this name",
            )
        case code if code == _ADDRESS_MISMATCH:
            return problem(
                "certificate-address",
                f"it is for {names_of(leaf)}, and not for the address {route.host}",
                "certificates are for names, nearly all of them for names alone",
                "Connect by the name",
            )
        case code if code in _WEAK:
            return problem(
                "certificate-weak",
                f"{error.verify_message} ({_key(leaf)}, signed with {_signature(leaf)})",
                "clients of today refuse keys and signatures that can be broken",
                "Issue it anew: an ECDSA key on P-256 or an RSA key of 2048 bits, signed with SHA-256",
            )
        case code if code == _SELF_SIGNED:
            return problem(
                "certificate-self-signed",
                f"{_short(leaf.subject)} is signed by itself",
                "no CA vouches for it, so no client trusts it unless told to, one by one",
                "Get one from a CA (Let's Encrypt is free); for development let clients trust it: --ca FILE",
            )
        case code if code in NO_ISSUER:
            return _unknown_issuer(route)
    return _refused(error)


def _refused(error: ssl.SSLCertVerificationError) -> Finding:
    return problem(
        "certificate-refused",
        error.verify_message,
        "clients that verify refuse it",
        "Issue it anew with a current tool",
    )


def _unknown_issuer(route: Route) -> Finding:
    """With what is missing added, as browsers add it, is the chain good? Then it is only incomplete."""
    last = path(route.chain)[-1]
    if found := what_is_missing(route):
        return problem(
            "certificate-incomplete",
            f"the intermediate {', '.join(_short(certificate.subject) for certificate in found)} is not sent",
            "browsers find it elsewhere and are content; Android, WeChat, Python, Node and curl are not",
            "Serve the full chain, leaf first (certbot: fullchain.pem instead of cert.pem)",
        )
    return problem(
        "certificate-unknown-ca",
        f"the chain ends at {issuer_of(last)}, which this client does not trust",
        "it is a CA of one's own, or for development, or of staging; or an intermediate is missing that cannot be"
        " found",
        "Trust the CA: --ca FILE (here: --ca certs/live/ca.pem); for the public: a certificate of a CA that all know",
    )


def _strictly(route: Route) -> str:
    context = route.context()
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        with route.open_tls(context) as connection:
            connection.do_handshake()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except OSError:
        pass
    return ""


def _left(certificate: x509.Certificate) -> timedelta:
    return certificate.not_valid_after_utc - datetime.now(UTC)


def _key(certificate: x509.Certificate) -> str:
    try:
        key = certificate.public_key()
    except UNREADABLE:
        return "unknown"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    return str(getattr(getattr(key, "curve", None), "name", type(key).__name__))


def _is_for_browsers(leaf: x509.Certificate) -> bool:
    return _key(leaf) in ("secp256r1", "secp384r1") or _key(leaf).startswith("RSA")


def _signature(certificate: x509.Certificate) -> str:
    with suppress(*UNREADABLE):
        if algorithm := certificate.signature_hash_algorithm:
            return algorithm.name.upper()
    return "no hash"


def _short(name: x509.Name) -> str:
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME) or name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return str(common[0].value) if common else name.rfc4514_string() or "(no name)"
