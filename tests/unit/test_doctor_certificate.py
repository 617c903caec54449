"""The doctor's fifth check: each reason why clients refuse a certificate."""

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID
from diagnosis import problem_of, warnings_of
from faulty_servers import NAME, examine_port, read_head_and_close, serving, write_bundle

from doctor.finding import Finding

pytestmark = pytest.mark.long

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
NOW = datetime.now(UTC)
DAY = timedelta(days=1)


class Certificate:
    """A certificate with its key; `cryptography` allows any fault."""

    def __init__(
        self,
        name: str,
        issuer: "Certificate | None" = None,
        *,
        ca: bool = False,
        start: datetime = NOW - 30 * DAY,
        end: datetime = NOW + 60 * DAY,
        key: Key | None = None,
        issuer_at: str = "",
        key_usage: bool = True,
        alternative_name: bool = True,
    ) -> None:
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = issuer or self
        builder = (
            x509.CertificateBuilder(
                signer.name, self.name, self.key.public_key(), x509.random_serial_number(), start, end
            )
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False)
        )
        if ca and key_usage:
            usage = x509.KeyUsage(
                digital_signature=False,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            )
            builder = builder.add_extension(usage, critical=True)
        if not ca and alternative_name:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        if issuer_at:
            access = x509.AccessDescription(
                AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(issuer_at)
            )
            builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
        # Ed25519 includes its hash.
        algorithm = None if isinstance(signer.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        self.certificate = builder.sign(signer.key, algorithm)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


@pytest.fixture(scope="module")
def root() -> Certificate:
    return Certificate("Root", ca=True)


def examine_chain(
    tmp_path: Path, root: Certificate, leaf: Certificate, *intermediates: Certificate, name: str = NAME
) -> list[Finding]:
    """Serve the chain; return the findings of a doctor that trusts only the root."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    pair = write_bundle(tmp_path / "pair.pem", leaf.key_pem, leaf.pem, *(issued.pem for issued in intermediates))
    context.load_cert_chain(pair)
    with serving(read_head_and_close, context) as port:
        return examine_port(port, name=name, ca=write_bundle(tmp_path / "root.pem", root.pem))


def test_a_valid_chain_has_no_certificate_finding(tmp_path: Path, root: Certificate) -> None:
    intermediate = Certificate("Intermediate", root, ca=True)
    findings = examine_chain(tmp_path, root, Certificate(NAME, intermediate), intermediate)
    assert problem_of(findings) == "upgrade-cut"  # the server answers no request
    assert not {code for code in warnings_of(findings) if code.startswith("certificate")}


def test_an_expired_leaf_is_a_problem(tmp_path: Path, root: Certificate) -> None:
    assert problem_of(examine_chain(tmp_path, root, Certificate(NAME, root, end=NOW - DAY))) == "certificate-expired"


def test_an_expired_intermediate_is_named(tmp_path: Path, root: Certificate) -> None:
    intermediate = Certificate("Intermediate", root, ca=True, end=NOW - DAY)
    findings = examine_chain(tmp_path, root, Certificate(NAME, intermediate), intermediate)
    assert problem_of(findings) == "certificate-expired"
    assert findings[-1].saw.startswith("Intermediate")


def test_a_certificate_that_is_not_yet_valid_is_a_problem(tmp_path: Path, root: Certificate) -> None:
    assert problem_of(examine_chain(tmp_path, root, Certificate(NAME, root, start=NOW + DAY))) == "certificate-not-yet"


def test_a_self_signed_certificate_is_a_problem(tmp_path: Path, root: Certificate) -> None:
    assert problem_of(examine_chain(tmp_path, root, Certificate(NAME))) == "certificate-self-signed"


def test_a_certificate_of_an_unknown_ca_is_a_problem(tmp_path: Path, root: Certificate) -> None:
    stranger = Certificate("Stranger", ca=True)
    assert problem_of(examine_chain(tmp_path, root, Certificate(NAME, stranger))) == "certificate-unknown-ca"
    assert problem_of(examine_chain(tmp_path, root, Certificate(NAME, stranger), stranger)) == "certificate-unknown-ca"


@contextmanager
def served_over_http(blob: bytes) -> Iterator[str]:
    """Serve the bytes over HTTP; yields the URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(blob)))
            self.end_headers()
            self.wfile.write(blob)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/issuer.der"
        server.shutdown()


@pytest.mark.parametrize("others", ["nothing", "the root", "another intermediate"])
@pytest.mark.parametrize("fault", ["no other", "expired", "another name"])
def test_a_missing_intermediate_is_named(tmp_path: Path, root: Certificate, others: str, fault: str) -> None:
    intermediate = Certificate("Intermediate", root, ca=True)
    sent = {"nothing": [], "the root": [root], "another intermediate": [Certificate("Former", root, ca=True)]}[others]
    end = NOW - DAY if fault == "expired" else NOW + 60 * DAY
    name = "other.example" if fault == "another name" else NAME
    with served_over_http(intermediate.certificate.public_bytes(serialization.Encoding.DER)) as url:
        findings = examine_chain(tmp_path, root, Certificate(name, intermediate, issuer_at=url, end=end), *sent)
    assert problem_of(findings) == "certificate-incomplete"
    assert "Intermediate" in findings[-1].saw


@pytest.mark.parametrize("name", ["intruder", "nonsense"])
def test_a_fetched_file_that_is_not_the_intermediate_is_not_trusted(
    tmp_path: Path, root: Certificate, name: str
) -> None:
    stranger = Certificate("Stranger", ca=True)
    blob = stranger.certificate.public_bytes(serialization.Encoding.DER) if name == "intruder" else b"<html>"
    with served_over_http(blob) as url:
        assert (
            problem_of(examine_chain(tmp_path, root, Certificate(NAME, stranger, issuer_at=url)))
            == "certificate-unknown-ca"
        )


def test_a_certificate_for_another_name_is_a_problem(tmp_path: Path, root: Certificate) -> None:
    findings = examine_chain(tmp_path, root, Certificate("other.example", root))
    assert problem_of(findings) == "certificate-name"
    assert "other.example" in findings[-1].saw


def test_a_common_name_without_subject_alt_name_does_not_count(tmp_path: Path, root: Certificate) -> None:
    findings = examine_chain(tmp_path, root, Certificate(NAME, root, alternative_name=False))
    assert problem_of(findings) == "certificate-name"
    assert "subjectAltName" in findings[-1].saw


def test_a_trusted_root_that_has_expired_is_a_problem(tmp_path: Path) -> None:
    old = Certificate("Old", ca=True, end=NOW - DAY)
    findings = examine_chain(tmp_path, old, Certificate(NAME, old))
    assert problem_of(findings) == "certificate-expired"
    assert "--ca" in findings[-1].saw


def test_a_key_that_browsers_refuse_is_a_warning(tmp_path: Path, root: Certificate) -> None:
    findings = examine_chain(tmp_path, root, Certificate(NAME, root, key=ed25519.Ed25519PrivateKey.generate()))
    assert "certificate-key" in warnings_of(findings)


def test_a_signature_that_browsers_do_not_know_is_a_warning(tmp_path: Path) -> None:
    signer = Certificate("Ed25519", ca=True, key=ed25519.Ed25519PrivateKey.generate())
    assert "certificate-signature" in warnings_of(examine_chain(tmp_path, signer, Certificate(NAME, signer)))


def test_an_address_that_the_certificate_does_not_cover_is_a_problem(tmp_path: Path, root: Certificate) -> None:
    assert problem_of(examine_chain(tmp_path, root, Certificate(NAME, root), name="127.0.0.1")) == "certificate-address"


def test_a_weak_key_is_a_problem(tmp_path: Path, root: Certificate) -> None:
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505  # the fault
    assert problem_of(examine_chain(tmp_path, root, Certificate(NAME, root, key=weak))) == "certificate-weak"


def test_a_certificate_that_expires_soon_is_a_warning(tmp_path: Path, root: Certificate) -> None:
    assert "certificate-soon" in warnings_of(examine_chain(tmp_path, root, Certificate(NAME, root, end=NOW + 5 * DAY)))


def test_an_issuer_that_is_not_a_ca_is_a_problem(tmp_path: Path, root: Certificate) -> None:
    leaf = Certificate("leaf.example", root)
    assert problem_of(examine_chain(tmp_path, root, Certificate(NAME, leaf), leaf)) == "certificate-refused"


def test_a_ca_that_strict_clients_refuse_is_a_warning(tmp_path: Path) -> None:
    lax = Certificate("Lax", ca=True, key_usage=False)
    assert "certificate-strict" in warnings_of(examine_chain(tmp_path, lax, Certificate(NAME, lax)))


def test_a_required_client_certificate_is_reported(tmp_path: Path) -> None:
    ca, clients = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(NAME).configure_cert(context)
    clients.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    ca_file = write_bundle(tmp_path / "ca.pem", ca.cert_pem.bytes())
    with serving(read_head_and_close, context) as port:
        assert problem_of(examine_port(port, ca=ca_file)) == "client-certificate"
        mine = clients.issue_cert("client.example")
        pair = write_bundle(tmp_path / "client.pem", mine.private_key_and_cert_chain_pem.bytes())
        assert problem_of(examine_port(port, ca=ca_file, client_cert=pair)) == "upgrade-cut"
