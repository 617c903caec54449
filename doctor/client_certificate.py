"""The check of --client-cert, before it is presented: would any server accept it?"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from doctor.chain import UNREADABLE
from doctor.context import Context
from doctor.finding import Finding, good, problem

_FOR_CLIENTS = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
_MAKE_ONE = "a private CA; for development: docker compose run --rm certs new --client NAME"


def check_client_certificate(context: Context) -> Iterator[Finding]:
    """Is it for clients, and within its validity period?"""
    assert context.options.client_cert
    leaf = x509.load_pem_x509_certificates(context.options.client_cert.read_bytes())[0]
    name = leaf.subject.rfc4514_string() or "the client certificate"
    if not is_for_clients(leaf):
        yield problem(
            "client-purpose",
            f"{name} is for servers only (its extendedKeyUsage lacks clientAuth)",
            "servers refuse it from a client (unsuitable certificate purpose); public CAs no longer issue certificates"
            " for clients",
            f"Get a client certificate from {_MAKE_ONE}",
        )
    elif not leaf.not_valid_before_utc <= datetime.now(UTC) <= leaf.not_valid_after_utc:
        yield problem(
            "client-expired",
            f"{name} is valid from {leaf.not_valid_before_utc:%Y-%m-%d} to {leaf.not_valid_after_utc:%Y-%m-%d}",
            "servers refuse it",
            f"Renew it with its CA, or get one from {_MAKE_ONE}",
        )
    else:
        yield good(f"{name}, issued by {leaf.issuer.rfc4514_string()}, until {leaf.not_valid_after_utc:%Y-%m-%d}")


def is_for_clients(leaf: x509.Certificate) -> bool:
    """Whether its extendedKeyUsage permits TLS client authentication (RFC 5280 section 4.2.1.12)."""
    with suppress(x509.ExtensionNotFound, *UNREADABLE):
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        return any(purpose in usage for purpose in _FOR_CLIENTS)
    return True
