"""The development pair."""

import ssl
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trustme
from certificates import CertificateError
from certificates.check import check_pair
from certificates.development import make_client, make_pair
from certificates.publish import stage
from certificates.source import read_pair


def test_a_development_pair_serves_the_domain_and_loopback(tmp_path: Path) -> None:
    make_pair(tmp_path, ["example.com", "localhost"])
    pair = read_pair(tmp_path)
    assert pair
    check_pair(pair, ["example.com", "localhost", "127.0.0.1", "::1"], tmp_path)
    assert (tmp_path / "server.key").stat().st_mode & 0o777 == 0o600
    assert {file.name for file in tmp_path.iterdir()} == {"ca.pem", "server.key", "server.pem"}


def test_any_name_that_domain_may_have_gets_a_certificate(tmp_path: Path) -> None:
    longest = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    names = ["my_service", "*.example.com", "xn--mnchen-3ya.example", longest, "2001:db8::1", "_a-b"]
    make_pair(tmp_path, names)
    pair = read_pair(tmp_path)
    assert pair
    with TemporaryDirectory() as volume:
        check_pair(pair, names, stage(pair, Path(volume)))


def test_strict_clients_accept_it(tmp_path: Path) -> None:
    make_pair(tmp_path, ["localhost"])
    pair = read_pair(tmp_path)
    assert pair
    assert check_pair(pair, ["localhost"], tmp_path, [tmp_path / "ca.pem"]).notes == ()


@pytest.mark.parametrize("name", ["live", "archive", "server.pem", "server.key", "ca.pem"])
def test_it_is_never_written_over_or_beside_what_is_the_operators(tmp_path: Path, ca: trustme.CA, name: str) -> None:
    if "." in name:
        (tmp_path / name).write_bytes(ca.cert_pem.bytes())
    else:
        (tmp_path / name).mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CertificateError, match=f"^{name}/? is there"):
        make_pair(tmp_path, ["localhost"])
    assert sorted(tmp_path.iterdir()) == before


def test_a_client_certificate_comes_with_its_ca(tmp_path: Path) -> None:
    make_client(tmp_path, "zoe@example.org")
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    make_pair(tmp_path, ["localhost"])
    server.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(tmp_path / "client-ca.pem")
    client.load_cert_chain(tmp_path / "client.pem", tmp_path / "client.key")
    client.load_verify_locations(tmp_path / "ca.pem")
    assert dict(part[0] for part in subject_seen(server, client))["commonName"] == "zoe@example.org"
    with pytest.raises(CertificateError, match=r"client-ca\.pem is there, and is not overwritten"):
        make_client(tmp_path, "zoe@example.org")


def subject_seen(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> Any:
    """Return the client's subject after a handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    seen = server.getpeercert()
    assert seen
    return seen["subject"]
