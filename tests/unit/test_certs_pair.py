"""Reading a pair from a directory, with each of the supported file names."""

from pathlib import Path

import pytest
import trustme
from certificates.pair import find_pair, read_pair
from cryptography import x509
from pairs import write_pair


def test_an_empty_directory_has_no_pair(tmp_path: Path) -> None:
    assert read_pair(tmp_path) is None


@pytest.mark.parametrize(
    ("certificate", "key"),
    [("server.pem", "server.key"), ("fullchain.pem", "privkey.pem"), ("cert.pem", "privkey.pem")],
)
def test_a_pair_is_found_by_the_names_of_certbot_too(
    ca: trustme.CA, tmp_path: Path, certificate: str, key: str
) -> None:
    live = tmp_path / "live" / "example.com"
    live.mkdir(parents=True)
    write_pair(ca.issue_cert("example.com"), live)
    (live / "server.pem").rename(live / certificate)
    (live / "server.key").rename(live / key)
    for directory in (live, tmp_path):
        pair = find_pair(directory, "example.com")
        assert pair
        assert (pair.certificate_file, pair.key_file) == (certificate, key)
    assert find_pair(tmp_path, "other.example") is None


def test_a_separate_chain_is_appended_to_the_leaf(ca: trustme.CA, tmp_path: Path) -> None:
    leaf = ca.create_child_ca().issue_cert("localhost")
    first, *rest = leaf.cert_chain_pems
    write_pair(leaf, tmp_path)
    full = (tmp_path / "server.pem").read_bytes()
    (tmp_path / "server.pem").write_bytes(first.bytes())
    (tmp_path / "chain.pem").write_bytes(b"".join(blob.bytes() for blob in rest))
    pair = read_pair(tmp_path)
    assert pair
    assert [certificate.subject for certificate in pair.chain] == [
        certificate.subject for certificate in x509.load_pem_x509_certificates(full)
    ]


def test_the_root_is_not_sent(ca: trustme.CA, tmp_path: Path) -> None:
    write_pair(ca.issue_cert("localhost"), tmp_path)
    with (tmp_path / "server.pem").open("ab") as file:
        file.write(ca.cert_pem.bytes())
    pair = read_pair(tmp_path)
    assert pair
    assert len(pair.chain) == 2
    assert len(pair.without_root().chain) == 1
