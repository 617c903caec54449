"""The doctor's check of --client-cert: what no server would accept is named before it is presented."""

from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from chains import DAY, FUTURE, PAST, issue
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from doctor.checks import run_checks
from doctor.client_certificate import check_client_certificate
from doctor.context import Context, Options

CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


def code(file: Path, *purposes: x509.ObjectIdentifier, **dates: datetime) -> str:
    leaf = issue("Zoe", purposes=purposes, **dates)  # type: ignore[arg-type]
    file.write_bytes(leaf.pem + leaf.key_pem)
    (finding,) = check_client_certificate(Context(urlsplit("wss://localhost/"), Options(client_cert=file)))
    return finding.code


@pytest.mark.parametrize("purposes", [(), (CLIENT,), (SERVER, CLIENT), (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)])
def test_a_certificate_for_clients_is_good(tmp_path: Path, purposes: tuple[x509.ObjectIdentifier, ...]) -> None:
    assert code(tmp_path / "client.pem", *purposes) == ""


def test_a_certificate_for_servers_only_is_a_problem_with_the_cure(tmp_path: Path) -> None:
    file = tmp_path / "client.pem"
    assert code(file, SERVER) == "client-purpose"
    # It ends the run: no server would accept it.
    ((_, finding),) = run_checks(urlsplit("wss://localhost:1/"), Options(client_cert=file), lambda _: None)
    assert "certs new --client" in finding.remedy


def test_a_certificate_outside_its_dates_is_a_problem(tmp_path: Path) -> None:
    assert code(tmp_path / "client.pem", **PAST) == "client-expired"
    assert code(tmp_path / "client.pem", **FUTURE) == "client-expired"
    assert code(tmp_path / "client.pem", end=datetime.now(UTC) + DAY) == ""
