"""Which pairs are valid, and the error for each invalid one."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trustme
from certificates import CertificateError
from certificates.check import check_pair
from certificates.development import make_pair
from certificates.pair import Pair
from certificates.publish import stage
from certificates.service import known_roots
from certificates.source import read_pair
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from pairs import write_pair

NOW = datetime.now(UTC)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
Fault = Callable[[Path], None]


def check(directory: Path, *domain: str) -> None:
    check_with_roots(directory, [], *domain)


def check_with_roots(directory: Path, roots: list[Path], *domain: str) -> Pair:
    """Check what would be published."""
    pair = read_pair(directory)
    assert pair
    with TemporaryDirectory() as volume:
        return check_pair(pair, list(domain), stage(pair.without_root(), Path(volume)), roots)


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


def another_key(directory: Path) -> None:
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(directory / "server.key")


def self_signed(key: PrivateKey, directory: Path, *names: str, extension: x509.ExtensionType | None = None) -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=1)).add_extension(
        x509.SubjectAlternativeName([x509.DNSName(each) for each in ("localhost", *names)]), critical=False
    )
    if extension:
        builder = builder.add_extension(extension, critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    (directory / "server.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (directory / "server.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def weak(directory: Path) -> None:
    self_signed(rsa.generate_private_key(65537, 1024), directory)  # noqa: S505  # the fault to detect


def exotic(directory: Path) -> None:
    self_signed(ec.generate_private_key(ec.SECP256K1()), directory)


def long(directory: Path) -> None:
    # Of two Mersenne primes: to generate such a key takes a minute.
    p, q = 2**4253 - 1, 2**4423 - 1
    d = pow(65537, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(
        *(p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)),
        rsa.RSAPublicNumbers(65537, p * q),
    )
    self_signed(numbers.private_key(unsafe_skip_rsa_key_validation=True), directory)


def many_names(directory: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    self_signed(key, directory, *(f"{i:03d}{'a' * 60}.{'b' * 63}.{'c' * 63}.example" for i in range(520)))


def for_clients(directory: Path) -> None:
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    self_signed(ec.generate_private_key(ec.SECP256R1()), directory, extension=usage)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (another_key, "server.key is not the key of server.pem"),
        (weak, "browsers reject the key type RSA 1024.*RSA key of 2048 to 8192 bits"),
        (long, "browsers reject the key type RSA 8676"),
        (exotic, "browsers reject the key type ECDSA secp256k1.*ECDSA key on P-256"),
        (many_names, "server.pem has 1[0-9]+ bytes of certificates, and clients accept 102400"),
        (for_clients, "not for servers: its extendedKeyUsage lacks serverAuth"),
    ],
)
def test_a_pair_that_cannot_be_served_is_rejected(ca: trustme.CA, tmp_path: Path, fault: Fault, error: str) -> None:
    write_pair(ca.issue_cert("localhost"), tmp_path)
    fault(tmp_path)
    with pytest.raises(CertificateError, match=error):
        check(tmp_path, "localhost")


def test_a_chain_in_any_order_and_with_others_in_it_is_sent_in_order(ca: trustme.CA, tmp_path: Path) -> None:
    leaf = ca.create_child_ca().create_child_ca().issue_cert("localhost")
    write_pair(leaf, tmp_path)
    blocks = [blob.bytes() for blob in leaf.cert_chain_pems]
    stranger = trustme.CA(organization_name="a stranger").cert_pem.bytes()
    (tmp_path / "server.pem").write_bytes(b"".join([ca.cert_pem.bytes(), *reversed(blocks), stranger, *blocks]))
    checked = check_with_roots(tmp_path, [], "localhost")
    assert checked.without_root().certificate == b"".join(blocks)
    assert "O=a stranger" in checked.notes[0]
    assert "out of order" in checked.notes[1]


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
    directory = tmp_path / "certs"
    directory.mkdir()
    intermediate, root = issued_by_intermediate(directory)
    roots = tmp_path / "roots.pem"
    roots.write_bytes(root.public_bytes(Encoding.PEM))
    with pytest.raises(
        CertificateError, match=r"incomplete.*Append the issuer's certificate \(http://ca.example/1.der"
    ):
        check_with_roots(directory, [roots], "localhost")
    with (directory / "server.pem").open("ab") as file:
        file.write(intermediate.public_bytes(Encoding.PEM))
    check_with_roots(directory, [roots], "localhost")
    # The root of a private CA, without ca.pem.
    with pytest.raises(CertificateError, match=r"ends with CN=middle.*put it there as ca.pem"):
        check_with_roots(directory, [], "localhost")


def test_ca_pem_must_be_the_root_of_the_chain(ca: trustme.CA, tmp_path: Path) -> None:
    write_pair(ca.create_child_ca().issue_cert("localhost"), tmp_path)
    own = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(own)
    check_with_roots(tmp_path, known_roots(tmp_path), "localhost")
    trustme.CA(organization_name="another").cert_pem.write_to_path(own)
    with pytest.raises(CertificateError, match=r"ca.pem is not the root of server.pem.*issued by .*remove ca.pem"):
        check_with_roots(tmp_path, known_roots(tmp_path), "localhost")
    own.write_text("nothing")
    with pytest.raises(CertificateError, match=r"ca.pem contains no PEM certificates"):
        check_with_roots(tmp_path, known_roots(tmp_path), "localhost")
    # A leftover ca.pem of a development pair is ignored.
    (tmp_path / "development").mkdir()
    make_pair(tmp_path / "development", ["localhost"])
    own.write_bytes((tmp_path / "development" / "ca.pem").read_bytes())
    check_with_roots(tmp_path, known_roots(tmp_path), "localhost")
