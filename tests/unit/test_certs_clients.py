"""CLIENT_CA and CLIENT_CRL: which CAs and revocation lists are valid."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from certificates import CertificateError
from certificates.chain import SYSTEM_ROOTS
from certificates.clients import check_clients, valid_until, with_client_files
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


@pytest.mark.skipif(not SYSTEM_ROOTS.exists(), reason="this machine has no public roots")
def test_a_public_ca_is_a_warning(ca: trustme.CA) -> None:
    end = b"-----END CERTIFICATE-----\n"
    public = SYSTEM_ROOTS.read_bytes().partition(end)[0] + end
    (warning,) = check_clients(Pair(b"", b"", ca.cert_pem.bytes() + public))
    assert "is a public CA: it issues no certificates for clients any more" in warning
    assert "certs new --client" in warning


def test_valid_until_is_the_first_expiry(ca: trustme.CA) -> None:
    soon = (NOW + timedelta(hours=1)).replace(microsecond=0)
    assert valid_until(Pair(b"", b"", b"", revocation_list(ca) + revocation_list(ca, until=soon))) == soon
    assert valid_until(Pair(b"", b"")) is None


def test_the_files_may_have_text_around_their_blocks(ca: trustme.CA, tmp_path: Path) -> None:
    (tmp_path / "ca").write_bytes(b"\xef\xbb\xbfsubject=CA\r\n" + ca.cert_pem.bytes().replace(b"\n", b"\r\n"))
    (tmp_path / "crl").write_bytes(b"the list:\n" + revocation_list(ca))
    pair = with_client_files(Pair(b"", b""), tmp_path, "ca", "crl")
    assert pair.client_ca == ca.cert_pem.bytes()
    assert pair.client_crl.startswith(b"-----BEGIN X509 CRL-----\n")
    check_clients(pair)


@pytest.mark.parametrize(
    ("client_ca", "client_crl", "error"),
    [
        (b"nonsense", None, "CLIENT_CA: ca has no certificate"),
        (b"", None, "CLIENT_CA: ca is empty"),
        (None, b"nonsense", "CLIENT_CRL: crl is not in PEM, or truncated.*openssl crl -inform DER"),
        (None, b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "crl is not a PEM revocation list"),
        (None, b"-----BEGIN X509 CRL-----\nAAAA\n", "crl is not in PEM, or truncated"),
        (None, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "contains no revocation list"),
    ],
)
def test_files_of_another_kind_are_rejected(
    ca: trustme.CA, tmp_path: Path, client_ca: bytes | None, client_crl: bytes | None, error: str
) -> None:
    (tmp_path / "ca").write_bytes(ca.cert_pem.bytes() if client_ca is None else client_ca)
    (tmp_path / "crl").write_bytes(revocation_list(ca) if client_crl is None else client_crl)
    with pytest.raises(CertificateError, match=error):
        with_client_files(Pair(b"", b""), tmp_path, "ca", "crl")


def test_files_that_would_refuse_all_clients_are_rejected(ca: trustme.CA) -> None:
    other = trustme.CA()
    authority = ca.cert_pem.bytes()
    for client_ca, client_crl, error in (
        (ca.create_child_ca().cert_pem.bytes(), b"", "which is missing; without it, clients are refused"),
        (ca.issue_cert("a@b.c").cert_chain_pems[0].bytes(), b"", "is not a CA certificate"),
        (authority, revocation_list(other), "is not issued by a CA of CLIENT_CA"),
        (authority, revocation_list(ca, until=NOW - timedelta(hours=1)), "the list of .* expired on"),
        (authority + other.cert_pem.bytes(), revocation_list(ca), "CLIENT_CRL has no list of"),
    ):
        with pytest.raises(CertificateError, match=error):
            check(client_ca, client_crl)
