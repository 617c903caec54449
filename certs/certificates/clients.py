"""CLIENT_CA and CLIENT_CRL: the CAs that issue client certificates, and their revocation lists."""

from datetime import UTC, datetime

from cryptography import x509

from certificates import CertificateError
from certificates.pair import Pair


def check_clients(pair: Pair) -> None:
    """Raise CertificateError unless the client CAs are valid CAs, each with its issuer and a current revocation list.

    Without `client_crl`, no revocation lists are needed.
    """
    if not pair.client_ca:
        return
    authorities = _authorities(pair.client_ca)
    if pair.client_crl:
        _check_lists(pair.client_crl, authorities)


def valid_until(pair: Pair) -> datetime | None:
    """Return when the first client CA or revocation list expires; None if there is none.

    From then on, clients are refused.
    """
    ends = [revoked.next_update_utc for revoked in map(x509.load_pem_x509_crl, _blocks(pair.client_crl))]
    if pair.client_ca:
        ends += [authority.not_valid_after_utc for authority in _authorities(pair.client_ca)]
    return min((end for end in ends if end), default=None)


def _blocks(pem: bytes) -> list[bytes]:
    end = b"-----END X509 CRL-----"
    return [block + end for block in pem.split(end)[:-1]]


def _authorities(pem: bytes) -> list[x509.Certificate]:
    try:
        authorities = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise CertificateError(
            f"CLIENT_CA contains no PEM certificates ({error}). Put the CA's certificate there"
        ) from None
    for authority in authorities:
        name = authority.subject.rfc4514_string()
        try:
            is_ca = authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except x509.ExtensionNotFound:
            is_ca = False
        if not is_ca:
            raise CertificateError(
                f"CLIENT_CA: {name} is not a CA certificate. Put the CA that issued your clients' certificates there"
            )
        if authority.not_valid_after_utc < datetime.now(UTC):
            raise CertificateError(
                f"CLIENT_CA: {name} expired on {authority.not_valid_after_utc:%Y-%m-%d}. Put a valid CA there"
            )
    subjects = {authority.subject for authority in authorities}
    for authority in authorities:
        if authority.issuer not in subjects:
            raise CertificateError(
                f"CLIENT_CA: {authority.subject.rfc4514_string()} is issued by"
                f" {authority.issuer.rfc4514_string()}, which is missing; without it, clients are refused. Add it"
            )
    return authorities


def _check_lists(pem: bytes, authorities: list[x509.Certificate]) -> None:
    blocks = _blocks(pem)
    if not blocks:
        raise CertificateError("CLIENT_CRL contains no PEM revocation list. Put one there (openssl crl -inform der)")
    missing = {authority.subject for authority in authorities}
    for block in blocks:
        try:
            revoked = x509.load_pem_x509_crl(block)
        except ValueError as error:
            raise CertificateError(f"CLIENT_CRL is not a PEM revocation list ({error}). Put one there") from None
        issuer = revoked.issuer.rfc4514_string()
        keys = [authority.public_key() for authority in authorities if authority.subject == revoked.issuer]
        if not any(revoked.is_signature_valid(key) for key in keys):  # type: ignore[arg-type]  # a CA's key signs
            raise CertificateError(
                f"CLIENT_CRL: the list of {issuer} is not issued by a CA of CLIENT_CA. Put that CA's list there"
            )
        if revoked.next_update_utc and revoked.next_update_utc < datetime.now(UTC):
            raise CertificateError(
                f"CLIENT_CRL: the list of {issuer} expired on {revoked.next_update_utc:%Y-%m-%d %H:%M} UTC;"
                " with it, clients are refused. Put a current one there"
            )
        missing.discard(revoked.issuer)
    if missing:
        names = ", ".join(sorted(name.rfc4514_string() for name in missing))
        raise CertificateError(f"CLIENT_CRL has no list of {names}; without it, its clients are refused. Add it")
