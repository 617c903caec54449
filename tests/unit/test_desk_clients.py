"""CLIENT_CA and CLIENT_CRL: what the desk takes for clients' certificates."""

from datetime import UTC, datetime, timedelta

import pytest
import trustme
from desk import CertificateError
from desk.clients import check_clients, good_until
from desk.pair import Pair
from pairs import revocation_list

NOW = datetime.now(UTC)


def check(client_ca: bytes, client_crl: bytes = b"") -> None:
    check_clients(Pair(b"", b"", client_ca, client_crl))


def test_cas_with_their_lists_are_taken(ca: trustme.CA) -> None:
    other = trustme.CA()
    check(b"")
    check(ca.cert_pem.bytes())
    check(ca.cert_pem.bytes() + other.cert_pem.bytes(), revocation_list(ca) + revocation_list(other))


def test_good_until_ends_with_the_first_of_them(ca: trustme.CA) -> None:
    soon = (NOW + timedelta(hours=1)).replace(microsecond=0)
    assert good_until(Pair(b"", b"", b"", revocation_list(ca) + revocation_list(ca, until=soon))) == soon
    assert good_until(Pair(b"", b"")) is None


def test_what_would_let_nobody_in_is_named(ca: trustme.CA) -> None:
    other = trustme.CA()
    authority = ca.cert_pem.bytes()
    for client_ca, client_crl, complaint in (
        (b"nonsense", b"", "CLIENT_CA has no certificates in PEM form"),
        (ca.create_child_ca().cert_pem.bytes(), b"", "which is not there, and without it no client gets in"),
        (ca.issue_cert("a@b.c").cert_chain_pems[0].bytes(), b"", "is no CA"),
        (authority, b"nonsense", "CLIENT_CRL has no revocation list in PEM form"),
        (authority, b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "CLIENT_CRL is no revocation list"),
        (authority, revocation_list(other), "by none of CLIENT_CA"),
        (authority, revocation_list(ca, until=NOW - timedelta(hours=1)), "was good until"),
        (authority + other.cert_pem.bytes(), revocation_list(ca), "CLIENT_CRL has no list of"),
    ):
        with pytest.raises(CertificateError, match=complaint):
            check(client_ca, client_crl)
