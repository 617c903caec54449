"""Finding the pair in a directory: by the usual names, in certbot's lineages, and by content under any names."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from certificates import CertificateError
from certificates.development import make_pair
from certificates.pair import Pair
from certificates.source import Source, read_pair
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)
from pairs import certificate_of, write_pair

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def find(directory: Path, *domain: str, unlocked_by: str = "", ignored: tuple[str, ...] = ()) -> Pair | None:
    return Source(directory, domain or ("example.com",), unlocked_by, frozenset(ignored)).find()


def found(directory: Path, *domain: str, unlocked_by: str = "") -> str:
    """Return the name of the certificate's file."""
    pair = find(directory, *domain, unlocked_by=unlocked_by)
    assert pair
    return pair.certificate_file


def write(directory: Path, leaf: trustme.LeafCert, certificate: str, key: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / certificate).write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(directory / key)


def test_a_directory_without_anything_of_tls_has_no_pair(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*\n")
    (tmp_path / "README").write_text("certificates go here\n")
    (tmp_path / "dangling").symlink_to("nowhere")
    assert find(tmp_path) is None


@pytest.mark.parametrize(
    ("certificate", "key"),
    [
        *(("server.pem", "server.key"), ("fullchain.pem", "privkey.pem"), ("cert.pem", "privkey.pem")),
        *(("server.crt", "server.key"), ("example.com.crt", "example.com.key"), ("certificate.crt", "private.key")),
        *(("fullchain.cer", "example.com.key"), ("example_com.pem", "KEY.TXT"), ("tls.crt", "tls.key")),
        *(("server.pem", "example.key"), ("pair.pem", "pair.pem")),
    ],
)
def test_a_pair_is_recognized_by_content(ca: trustme.CA, tmp_path: Path, certificate: str, key: str) -> None:
    leaf = ca.create_child_ca().issue_cert("example.com")
    write(tmp_path, leaf, certificate, key)
    if certificate == key:  # as HAProxy takes them, key first
        (tmp_path / key).write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
    pair = find(tmp_path)
    assert pair
    assert (pair.certificate_file, pair.key_file) == (certificate, key)
    assert pair.chain[0] == certificate_of(leaf)
    assert len(pair.chain) == 2


@pytest.mark.parametrize("bundle", ["chain.pem", "example_com.ca-bundle", "ca_bundle.crt", "intermediate.crt"])
def test_a_separate_chain_is_appended_to_the_leaf(ca: trustme.CA, tmp_path: Path, bundle: str) -> None:
    leaf = ca.create_child_ca().issue_cert("example.com")
    first, *rest = leaf.cert_chain_pems
    (tmp_path / "server.pem").write_bytes(first.bytes())
    leaf.private_key_pem.write_to_path(tmp_path / "server.key")
    (tmp_path / bundle).write_bytes(b"".join(blob.bytes() for blob in rest))
    pair = find(tmp_path)
    assert pair
    assert [one.subject for one in pair.chain] == [
        one.subject for one in x509.load_pem_x509_certificates(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    ]
    assert "the chain of server.pem was completed from other files" in pair.notes[0]


def test_a_leaf_and_its_full_chain_are_one_certificate(ca: trustme.CA, tmp_path: Path) -> None:
    leaf = ca.create_child_ca().issue_cert("example.com")
    write(tmp_path, leaf, "fullchain.cer", "example.com.key")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "example.com.cer")
    ca.cert_pem.write_to_path(tmp_path / "root.cer")
    (tmp_path / "example.com.csr").write_text(
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
    )
    assert found(tmp_path) == "fullchain.cer"


def test_of_several_pairs_the_only_valid_one_that_covers_domain_is_used(ca: trustme.CA, tmp_path: Path) -> None:
    write(tmp_path, ca.issue_cert("example.com"), "new.crt", "new.key")
    write(tmp_path, ca.issue_cert("example.com", not_after=NOW - DAY), "old.crt", "old.key")
    write(tmp_path, ca.issue_cert("other.example"), "other.crt", "other.key")
    assert found(tmp_path) == "new.crt"
    write(tmp_path, ca.issue_cert("*.com", "example.com"), "third.crt", "third.key")
    with pytest.raises(CertificateError, match=r"2 certificates with their keys are there: new.crt is .*third.crt is "):
        find(tmp_path)


def test_the_files_with_the_usual_names_come_first(ca: trustme.CA, tmp_path: Path) -> None:
    write(tmp_path, ca.issue_cert("example.com"), "a.crt", "a.key")
    write_pair(ca.issue_cert("example.com"), tmp_path)
    assert found(tmp_path) == "server.pem"


@pytest.mark.parametrize("parent", ["live", "."])
def test_of_all_lineages_that_cover_domain_the_one_valid_longest_is_used(
    ca: trustme.CA, tmp_path: Path, parent: str
) -> None:
    live = tmp_path / parent
    for name, names, days in (
        ("example.com", ("example.com",), 1),
        ("example.com-0001", ("example.com", "www.example.com"), 30),
        ("www.example.com", ("www.example.com", "example.com"), 60),
        ("example.org", ("example.org",), 90),
        ("wildcard", ("*.example.com",), 80),
    ):
        leaf = ca.issue_cert(*names, not_after=NOW + timedelta(days=days))
        write(live / name, leaf, "fullchain.pem", "privkey.pem")
        # As certbot leaves it.
        leaf.cert_chain_pems[0].write_to_path(live / name / "cert.pem")
        ca.cert_pem.write_to_path(live / name / "chain.pem")
    shutil.copytree(live / "example.com", tmp_path / "archive" / "example.com")
    prefix = "live/" if parent == "live" else ""
    assert found(tmp_path) == f"{prefix}www.example.com/fullchain.pem"
    assert found(tmp_path, "www.example.com") == f"{prefix}wildcard/fullchain.pem"
    assert found(tmp_path, "*.example.com") == f"{prefix}wildcard/fullchain.pem"
    assert found(tmp_path, "example.com", "www.example.com") == f"{prefix}www.example.com/fullchain.pem"
    with pytest.raises(
        CertificateError, match=r"no certificate there covers all of DOMAIN=example\.net: .*example\.org"
    ):
        find(tmp_path, "example.net")


def test_a_broken_lineage_does_not_hide_the_others(ca: trustme.CA, tmp_path: Path) -> None:
    write(tmp_path / "live" / "example.com-0001", ca.issue_cert("example.com"), "fullchain.pem", "privkey.pem")
    broken = tmp_path / "live" / "example.com"
    broken.mkdir()
    (broken / "fullchain.pem").symlink_to("../../archive/example.com/fullchain1.pem")
    assert found(tmp_path) == "live/example.com-0001/fullchain.pem"
    shutil.rmtree(tmp_path / "live" / "example.com-0001")
    with pytest.raises(CertificateError, match=r"fullchain\.pem is a link to .*set CERTS_DIR to /etc/letsencrypt"):
        find(tmp_path)


def test_a_real_pair_replaces_a_development_pair(ca: trustme.CA, tmp_path: Path) -> None:
    make_pair(tmp_path, ["example.com"])
    assert found(tmp_path) == "server.pem"
    write(tmp_path / "live" / "x", ca.issue_cert("example.com"), "fullchain.pem", "privkey.pem")
    assert found(tmp_path) == "live/x/fullchain.pem"
    write(tmp_path, ca.issue_cert("example.com"), "example.crt", "example.key")
    assert found(tmp_path) == "example.crt"
    assert found(tmp_path, "localhost") == "example.crt"  # check_pair refuses it: its names are wrong


def pfx(leaf: trustme.LeafCert, password: bytes) -> bytes:
    first, *rest = x509.load_pem_x509_certificates(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    key = load_pem_private_key(leaf.private_key_pem.bytes(), None)
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return pkcs12.serialize_key_and_certificates(b"name", key, first, rest, encryption)  # type: ignore[arg-type]


def test_a_pfx_file_is_read_with_its_password(ca: trustme.CA, tmp_path: Path) -> None:
    leaf = ca.create_child_ca().issue_cert("example.com")
    (tmp_path / "server.pfx").write_bytes(pfx(leaf, b"secret"))
    with pytest.raises(CertificateError) as error:
        find(tmp_path)
    assert "server.pfx is a PKCS#12 file with a password" in str(error.value)
    assert "openssl pkcs12 -in server.pfx -nokeys -out server.pem" in str(error.value)
    assert "openssl pkcs12 -in server.pfx -nocerts -noenc -out server.key" in str(error.value)
    (tmp_path / "password.txt").write_text("secret\n")
    pair = find(tmp_path, unlocked_by="password.txt")
    assert pair
    assert (pair.certificate_file, len(pair.chain)) == ("server.pfx", 2)
    (tmp_path / "password.txt").write_text("wrong\n")
    with pytest.raises(CertificateError, match="cannot be opened with the password") as error:
        find(tmp_path, unlocked_by="password.txt")
    assert "wrong" not in str(error.value)
    (tmp_path / "server.pfx").write_bytes(pfx(leaf, b""))
    assert found(tmp_path) == "server.pfx"


def test_an_encrypted_key_is_read_with_its_password(ca: trustme.CA, tmp_path: Path) -> None:
    leaf = ca.issue_cert("example.com")
    write_pair(leaf, tmp_path)
    key = load_pem_private_key(leaf.private_key_pem.bytes(), None)
    for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
        (tmp_path / "server.key").write_bytes(key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"secret")))
        with pytest.raises(CertificateError, match=r"server.key is encrypted.*CERTS_PASSWORD_FILE"):
            find(tmp_path)
        (tmp_path / "password").write_text("secret\n")
        assert found(tmp_path, unlocked_by="password") == "server.pem"
    with pytest.raises(CertificateError, match=r"nothing\.txt is missing"):
        find(tmp_path, unlocked_by="nothing.txt")


def test_what_was_found_is_listed_with_what_to_do(ca: trustme.CA, tmp_path: Path) -> None:
    leaf = ca.issue_cert("example.com")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "example.crt")
    trustme.CA().issue_cert("example.com").private_key_pem.write_to_path(tmp_path / "example.key")
    (tmp_path / "server.pfx").write_bytes(pfx(leaf, b"secret"))
    ca.cert_pem.write_to_path(tmp_path / "bundle.crt")
    (tmp_path / "note.txt").write_text("nothing of TLS\n")
    with pytest.raises(CertificateError) as error:
        find(tmp_path)
    for part in (
        "example.crt is a certificate for example.com, and its private key is not there",
        "example.key is a private key, and its certificate is not there",
        "server.pfx is a PKCS#12 file",
        "bundle.crt is a certificate without names",
    ):
        assert part in str(error.value)
    assert "note.txt" not in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_other_settings_name_are_not_the_pair(ca: trustme.CA, tmp_path: Path) -> None:
    ca.cert_pem.write_to_path(tmp_path / "client-ca.pem")
    assert find(tmp_path, ignored=("client-ca.pem",)) is None
    with pytest.raises(CertificateError, match=r"client-ca\.pem is a certificate"):
        find(tmp_path)


def test_the_root_is_not_sent(ca: trustme.CA, tmp_path: Path) -> None:
    write_pair(ca.issue_cert("localhost"), tmp_path)
    with (tmp_path / "server.pem").open("ab") as file:
        file.write(ca.cert_pem.bytes())
    pair = read_pair(tmp_path)
    assert pair
    assert len(pair.chain) == 2
    assert len(pair.without_root().chain) == 1
