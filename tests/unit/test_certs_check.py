"""Which pairs are valid, and the error for each invalid one."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from certificates import CertificateError
from certificates.check import check_pair
from certificates.development import make_pair
from certificates.pair import read_pair
from certificates.service import known_roots
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import AuthorityInformationAccessOID
from pairs import write_pair

NOW = datetime.now(UTC)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
Fault = Callable[[Path], None]


def check(directory: Path, *domain: str) -> None:
    pair = read_pair(directory)
    assert pair
    check_pair(pair, list(domain), directory)


@pytest.mark.parametrize("domain", [["localhost"], ["localhost", "a.wild.example"], ["192.0.2.1", "2001:db8::1"]])
def test_a_valid_pair_passes(ca: trustme.CA, tmp_path: Path, domain: list[str]) -> None:
    write_pair(ca.issue_cert("localhost", "*.wild.example", "192.0.2.1", "2001:db8::1"), tmp_path)
    check(tmp_path, *domain)


def test_a_chain_with_an_intermediate_passes(ca: trustme.CA, tmp_path: Path) -> None:
    write_pair(ca.create_child_ca().issue_cert("localhost"), tmp_path)
    check(tmp_path, "localhost")


@pytest.mark.parametrize("name", ["other.example", "wild.example", "a.b.wild.example", "192.0.2.2"])
def test_the_certificate_must_cover_every_name_of_domain(ca: trustme.CA, tmp_path: Path, name: str) -> None:
    write_pair(ca.issue_cert("localhost", "*.wild.example", "192.0.2.1"), tmp_path)
    with pytest.raises(CertificateError, match=rf"but DOMAIN has {name}\. Put a pair there that covers it"):
        check(tmp_path, "localhost", name)


@pytest.mark.parametrize("name", ["", "a..example", "a" * 64 + ".example"])
def test_an_invalid_host_name_in_domain_is_reported(ca: trustme.CA, tmp_path: Path, name: str) -> None:
    write_pair(ca.issue_cert("localhost"), tmp_path)
    with pytest.raises(CertificateError, match=r"Correct DOMAIN|but DOMAIN has"):
        check(tmp_path, name)


def test_a_name_only_in_the_common_name_does_not_count(ca: trustme.CA, tmp_path: Path) -> None:
    write_pair(ca.issue_cert(common_name="localhost"), tmp_path)
    with pytest.raises(CertificateError, match="is for no name, but DOMAIN has localhost"):
        check(tmp_path, "localhost")


def test_an_expired_certificate_is_reported_with_its_date(ca: trustme.CA, tmp_path: Path) -> None:
    write_pair(ca.issue_cert("localhost", not_after=NOW - timedelta(days=1)), tmp_path)
    with pytest.raises(CertificateError, match=f"expired on {NOW - timedelta(days=1):%Y-%m-%d}"):
        check(tmp_path, "localhost")


def test_a_certificate_that_is_not_yet_valid_is_reported_with_its_date(ca: trustme.CA, tmp_path: Path) -> None:
    write_pair(ca.issue_cert("localhost", not_before=NOW + timedelta(days=1)), tmp_path)
    with pytest.raises(CertificateError, match=f"not valid before {NOW + timedelta(days=1):%Y-%m-%d}"):
        check(tmp_path, "localhost")


def not_pem(directory: Path) -> None:
    (directory / "server.pem").write_text("not a certificate\n")


def empty(directory: Path) -> None:
    (directory / "server.pem").write_text("\n")


def der(directory: Path) -> None:
    leaf = x509.load_pem_x509_certificate((directory / "server.pem").read_bytes())
    (directory / "server.pem").write_bytes(leaf.public_bytes(Encoding.DER))


def not_a_key(directory: Path) -> None:
    (directory / "server.key").write_text("not a key\n")


def swapped(directory: Path) -> None:
    certificate = (directory / "server.pem").read_bytes()
    (directory / "server.pem").write_bytes((directory / "server.key").read_bytes())
    (directory / "server.key").write_bytes(certificate)


def encrypted(directory: Path) -> None:
    key = load_pem_private_key((directory / "server.key").read_bytes(), None)
    (directory / "server.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )


def a_directory(directory: Path) -> None:
    (directory / "server.key").unlink()
    (directory / "server.key").mkdir()


def another_key(directory: Path) -> None:
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(directory / "server.key")


def root_first(directory: Path) -> None:
    authority = trustme.CA()
    leaf = (directory / "server.pem").read_bytes()
    (directory / "server.pem").write_bytes(authority.cert_pem.bytes() + leaf)


def self_signed(key: PrivateKey, directory: Path) -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (directory / "server.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (directory / "server.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def weak(directory: Path) -> None:
    self_signed(rsa.generate_private_key(65537, 1024), directory)  # noqa: S505  # the fault to detect


def exotic(directory: Path) -> None:
    self_signed(ec.generate_private_key(ec.SECP256K1()), directory)


def foreign_intermediate(directory: Path) -> None:
    with (directory / "server.pem").open("ab") as file:
        file.write(trustme.CA().cert_pem.bytes())


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (not_pem, "server.pem is not a PEM certificate chain"),
        (empty, "server.pem is not a PEM certificate chain.*it is empty"),
        (der, "server.pem is not a PEM certificate chain.*it is in DER form.*openssl x509 -inform DER"),
        (not_a_key, "server.key is not a PEM private key"),
        (swapped, "server.pem is not a PEM certificate chain.*it contains a private key"),
        (encrypted, "server.key is encrypted"),
        (a_directory, "server.key is not a file"),
        (another_key, "server.key is not the key of server.pem"),
        (root_first, "server.key is not the key of server.pem"),
        (weak, "browsers reject the key type RSA 1024.*RSA key of 2048 bits"),
        (exotic, "browsers reject the key type ECDSA secp256k1.*ECDSA key on P-256"),
        (foreign_intermediate, "out of order: each certificate must be issued by the next"),
    ],
)
def test_a_pair_that_cannot_be_served_is_rejected(ca: trustme.CA, tmp_path: Path, fault: Fault, error: str) -> None:
    write_pair(ca.issue_cert("localhost"), tmp_path)
    fault(tmp_path)
    with pytest.raises(CertificateError, match=error):
        check(tmp_path, "localhost")


def issued_by_intermediate(directory: Path) -> tuple[x509.Certificate, x509.Certificate]:
    """Write a leaf without its chain, with the URL of its issuer (AIA); return intermediate and root."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in ("root", "middle", "leaf")]
    made = []
    for i in range(3):
        issuer = max(i - 1, 0)
        builder = x509.CertificateBuilder(
            names[issuer], names[i], keys[i].public_key(), i + 1, NOW - timedelta(days=1), NOW + timedelta(days=9)
        )
        if i < 2:
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        else:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        address = x509.UniformResourceIdentifier(f"http://ca.example/{issuer}.der")
        access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, address)
        builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
        made.append(builder.sign(keys[issuer], hashes.SHA256()))
    (directory / "server.pem").write_bytes(made[2].public_bytes(Encoding.PEM))
    (directory / "server.key").write_bytes(
        keys[2].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
    return made[1], made[0]


def test_a_missing_intermediate_is_reported_with_its_url(tmp_path: Path) -> None:
    intermediate, root = issued_by_intermediate(tmp_path)
    roots = tmp_path / "roots.pem"
    roots.write_bytes(root.public_bytes(Encoding.PEM))
    pair = read_pair(tmp_path)
    assert pair
    with pytest.raises(
        CertificateError, match=r"incomplete.*Append the issuer's certificate \(http://ca.example/1.der"
    ):
        check_pair(pair, ["localhost"], tmp_path, [roots])
    with (tmp_path / "server.pem").open("ab") as file:
        file.write(intermediate.public_bytes(Encoding.PEM))
    pair = read_pair(tmp_path)
    assert pair
    check_pair(pair, ["localhost"], tmp_path, [roots])
    # The root of a private CA, without ca.pem.
    with pytest.raises(CertificateError, match=r"ends with CN=middle.*put it there as ca.pem"):
        check_pair(pair, ["localhost"], tmp_path)


def test_ca_pem_must_be_the_root_of_the_chain(ca: trustme.CA, tmp_path: Path) -> None:
    write_pair(ca.create_child_ca().issue_cert("localhost"), tmp_path)
    pair = read_pair(tmp_path)
    assert pair
    own = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(own)
    check_pair(pair, ["localhost"], tmp_path, known_roots(tmp_path))
    trustme.CA(organization_name="another").cert_pem.write_to_path(own)
    with pytest.raises(CertificateError, match=r"ca.pem is not the root of server.pem.*issued by .*remove ca.pem"):
        check_pair(pair, ["localhost"], tmp_path, known_roots(tmp_path))
    # A leftover ca.pem of a development pair is ignored.
    (tmp_path / "development").mkdir()
    make_pair(tmp_path / "development", ["localhost"])
    own.write_bytes((tmp_path / "development" / "ca.pem").read_bytes())
    check_pair(pair, ["localhost"], tmp_path, known_roots(tmp_path))
