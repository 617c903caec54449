"""CLOSE_REVOKED: connections whose client certificates are revoked are closed with 4403, and no others."""

import json
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme
from certificates.clients import revocation_lists
from certificates.pair import Pair
from certificates.publish import publish_revoked
from cryptography import x509
from cryptography.x509.oid import NameOID
from pairs import revocation_list
from raw import HANDSHAKE
from server import Server, Start, failed_start
from via import PROXY, Via, opened
from wss.config.environment import SettingError
from wss.config.settings import read_settings
from wss.handshake.client_certificate import ClientCertificate
from wss.handshake.revocation import Revocations

__all__ = ("opened",)

ACCESS_ENDED = 4403
CA, OTHER_CA = "CN=Clients", "CN=Others"


def write(directory: Path, *serials: str, issuer: str = "Clients") -> Path:
    """Replace the file as the certificate service does."""
    file, new = directory / "revoked", directory / "revoked.new"
    new.write_text(json.dumps([{"issuer": [[["commonName", issuer]]], "serials": serials}]))
    return new.replace(file)


@pytest.fixture
def server(start: Start, tmp_path: Path) -> Server:
    write(tmp_path, "01")
    return start(CLOSE_REVOKED="on", REVOKED_FILE=str(tmp_path / "revoked"), TRUSTED_PROXIES="127.0.0.0/8")


def enter(server: Server, opened: ExitStack, serial: str, issuer: str = CA) -> Via:
    headers = f"X-Client-Subject: CN=ann\r\nX-Client-Serial: {serial}\r\nX-Client-Issuer: {issuer}\r\n\r\n"
    return Via(server, PROXY, HANDSHAKE.removesuffix(b"\r\n") + headers.encode(), opened)


def test_a_new_list_closes_those_that_it_revokes_and_no_others(
    server: Server, opened: ExitStack, tmp_path: Path
) -> None:
    revoked, *kept = (
        enter(server, opened, "0A"),
        enter(server, opened, "0A", OTHER_CA),
        enter(server, opened, "0B"),
        Via(server, PROXY, HANDSHAKE, opened),
    )
    write(tmp_path, "01", "0A")
    assert revoked.close_code() == ACCESS_ENDED
    assert all(each.receives(b"\x81\x02ok") for each in kept)
    # The proxy may not know the list yet.
    assert enter(server, opened, "0A").status == 403
    assert enter(server, opened, "0A", OTHER_CA).status == 101


def test_the_list_at_the_start_counts(server: Server, opened: ExitStack) -> None:
    assert enter(server, opened, "1").status == 403


def test_a_broken_file_keeps_the_previous_list(server: Server, opened: ExitStack, tmp_path: Path) -> None:
    (tmp_path / "revoked").write_text("[{")
    server.wait_for("(keeping the previous revocation lists)")
    assert enter(server, opened, "01").status == 403
    client = enter(server, opened, "0C")
    write(tmp_path, "0C")
    assert client.close_code() == ACCESS_ENDED


def test_without_the_setting_nothing_is_closed(start: Start, opened: ExitStack, tmp_path: Path) -> None:
    write(tmp_path, "0A")
    server = start(REVOKED_FILE=str(tmp_path / "revoked"), TRUSTED_PROXIES="127.0.0.0/8")
    assert enter(server, opened, "0A").receives(b"\x81\x02ok")


def test_a_start_without_the_file_fails(tmp_path: Path) -> None:
    line = failed_start(CLOSE_REVOKED="on", REVOKED_FILE=str(tmp_path / "revoked"))
    assert line.startswith(f"error: CLOSE_REVOKED=on: {tmp_path}/revoked cannot be read")


def test_a_setting_without_a_list_is_refused() -> None:
    with pytest.raises(SettingError, match=r"^CLOSE_REVOKED=on: there is no revocation list\. Set CLIENT_CA and"):
        read_settings({"CLOSE_REVOKED": "on"})


def test_the_certificate_service_writes_what_the_backend_reads(tmp_path: Path) -> None:
    ca, other = trustme.CA(organization_name='Zoë, "Clients"'), trustme.CA()
    ann, bob = ca.issue_cert("ann@example.org"), ca.issue_cert("bob@example.org")
    crl = revocation_list(ca, ann) + revocation_list(other)
    pair = Pair(b"", b"", ca.cert_pem.bytes() + other.cert_pem.bytes(), crl)
    publish_revoked(revocation_lists(pair), tmp_path)
    revocations = Revocations(tmp_path / "revoked")

    subject = x509.load_pem_x509_certificate(ca.cert_pem.bytes()).subject
    (unit,) = subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    assert isinstance(unit.value, str)
    issuer = rf"OU={unit.value},O=Zo\C3\AB\, \"Clients\""

    def certificate(leaf: trustme.LeafCert, issuer: str) -> ClientCertificate:
        serial = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()).serial_number
        return ClientCertificate("", f"{serial:X}", issuer)

    assert certificate(ann, issuer) in revocations
    assert certificate(ann, "CN=other") not in revocations
    assert certificate(bob, issuer) not in revocations
    assert None not in revocations


@pytest.mark.parametrize("issuer", ["CN=Clients", "CN=Clients,1.2.3.4.5=#0C0161", r"CN=Clients,1.2.3.4.5=a\,b"])
def test_attributes_without_a_name_do_not_count(tmp_path: Path, issuer: str) -> None:
    write(tmp_path, "0A")
    assert ClientCertificate("", "0A", issuer) in Revocations(tmp_path / "revoked")
    assert ClientCertificate("", "0A", f"{issuer},O=X") not in Revocations(tmp_path / "revoked")
