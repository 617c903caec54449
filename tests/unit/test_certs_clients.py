"""CLIENT_CA and CLIENT_CRL: which CAs and revocation lists are valid."""

from datetime import UTC, datetime, timedelta

import pytest
import trustme
from certificates import CertificateError
from certificates.clients import check_clients, valid_until
from certificates.pair import Pair
from pairs import revocation_list

NOW = datetime.now(UTC)


def check(client_ca: bytes, client_crl: bytes = b"") -> None:
    check_clients(Pair(b"", b"", client_ca, client_crl))


def test_cas_with_their_lists_are_valid(ca: trustme.CA) -> None:
    other = trustme.CA()
    check(b"")
    check(ca.cert_pem.bytes())
    check(ca.cert_pem.bytes() + other.cert_pem.bytes(), revocation_list(ca) + revocation_list(other))


def test_valid_until_is_the_first_expiry(ca: trustme.CA) -> None:
    soon = (NOW + timedelta(hours=1)).replace(microsecond=0)
    assert valid_until(Pair(b"", b"", b"", revocation_list(ca) + revocation_list(ca, until=soon))) == soon
    assert valid_until(Pair(b"", b"")) is None


def test_files_that_would_refuse_all_clients_are_rejected(ca: trustme.CA) -> None:
    other = trustme.CA()
    authority = ca.cert_pem.bytes()
    for client_ca, client_crl, error in (
        (b"nonsense", b"", "CLIENT_CA contains no PEM certificates"),
        (ca.create_child_ca().cert_pem.bytes(), b"", "which is missing; without it, clients are refused"),
        (ca.issue_cert("a@b.c").cert_chain_pems[0].bytes(), b"", "is not a CA certificate"),
        (authority, b"nonsense", "CLIENT_CRL contains no PEM revocation list"),
        (
            authority,
            b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
            "CLIENT_CRL is not a PEM revocation list",
        ),
        (authority, revocation_list(other), "is not issued by a CA of CLIENT_CA"),
        (authority, revocation_list(ca, until=NOW - timedelta(hours=1)), "the list of .* expired on"),
        (authority + other.cert_pem.bytes(), revocation_list(ca), "CLIENT_CRL has no list of"),
    ):
        with pytest.raises(CertificateError, match=error):
            check(client_ca, client_crl)
