"""The doctor, fifth step: every way in which clients refuse a certificate."""

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
from faulty import NAME, examine_port, read_head, serving, write_bundle

from doctor.finding import Finding

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
NOW = datetime.now(UTC)
DAY = timedelta(days=1)


class Issued:
    """A certificate with its key, as `cryptography` makes them: with any fault."""

    def __init__(
        self,
        name: str,
        issuer: "Issued | None" = None,
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
        # Ed25519 has a hash of its own.
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
def root() -> Issued:
    return Issued("Root", ca=True)


def judged(tmp_path: Path, root: Issued, leaf: Issued, *intermediates: Issued, name: str = NAME) -> list[Finding]:
    """Serve the chain; return what the doctor says, who trusts the root alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    pair = write_bundle(tmp_path / "pair.pem", leaf.key_pem, leaf.pem, *(issued.pem for issued in intermediates))
    context.load_cert_chain(pair)
    with serving(lambda connection: void(read_head(connection)), context) as port:
        return examine_port(port, name=name, ca=write_bundle(tmp_path / "root.pem", root.pem))


def void(_: object) -> None:
    """Take it, and leave."""


def test_a_good_chain(tmp_path: Path, root: Issued) -> None:
    intermediate = Issued("Intermediate", root, ca=True)
    findings = judged(tmp_path, root, Issued(NAME, intermediate), intermediate)
    assert problem_of(findings) == "upgrade-cut"  # the server has nothing but a certificate
    assert not {code for code in warnings_of(findings) if code.startswith("certificate")}


def test_an_expired_leaf(tmp_path: Path, root: Issued) -> None:
    assert problem_of(judged(tmp_path, root, Issued(NAME, root, end=NOW - DAY))) == "certificate-expired"


def test_an_expired_intermediate_is_named(tmp_path: Path, root: Issued) -> None:
    intermediate = Issued("Intermediate", root, ca=True, end=NOW - DAY)
    findings = judged(tmp_path, root, Issued(NAME, intermediate), intermediate)
    assert problem_of(findings) == "certificate-expired"
    assert findings[-1].saw.startswith("Intermediate")


def test_one_of_tomorrow(tmp_path: Path, root: Issued) -> None:
    assert problem_of(judged(tmp_path, root, Issued(NAME, root, start=NOW + DAY))) == "certificate-not-yet"


def test_one_that_is_signed_by_itself(tmp_path: Path, root: Issued) -> None:
    assert problem_of(judged(tmp_path, root, Issued(NAME))) == "certificate-self-signed"


def test_one_of_an_unknown_ca(tmp_path: Path, root: Issued) -> None:
    stranger = Issued("Stranger", ca=True)
    assert problem_of(judged(tmp_path, root, Issued(NAME, stranger))) == "certificate-unknown-ca"
    assert problem_of(judged(tmp_path, root, Issued(NAME, stranger), stranger)) == "certificate-unknown-ca"


@contextmanager
def shown(blob: bytes) -> Iterator[str]:
    """Serve the bytes over http; yields the URL."""

    class Show(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(blob)))
            self.end_headers()
            self.wfile.write(blob)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Show) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/issuer.der"
        server.shutdown()


@pytest.mark.parametrize("beside", ["nothing", "the root", "another intermediate"])
@pytest.mark.parametrize("fault", ["no other", "expired", "another name"])
def test_a_missing_intermediate(tmp_path: Path, root: Issued, beside: str, fault: str) -> None:
    intermediate = Issued("Intermediate", root, ca=True)
    sent = {"nothing": [], "the root": [root], "another intermediate": [Issued("Former", root, ca=True)]}[beside]
    end = NOW - DAY if fault == "expired" else NOW + 60 * DAY
    name = "other.example" if fault == "another name" else NAME
    with shown(intermediate.certificate.public_bytes(serialization.Encoding.DER)) as url:
        findings = judged(tmp_path, root, Issued(name, intermediate, issuer_at=url, end=end), *sent)
    assert problem_of(findings) == "certificate-incomplete"
    assert "Intermediate" in findings[-1].saw


@pytest.mark.parametrize("name", ["intruder", "nonsense"])
def test_what_is_found_instead_of_an_intermediate_is_not_believed(tmp_path: Path, root: Issued, name: str) -> None:
    stranger = Issued("Stranger", ca=True)
    blob = stranger.certificate.public_bytes(serialization.Encoding.DER) if name == "intruder" else b"<html>"
    with shown(blob) as url:
        assert problem_of(judged(tmp_path, root, Issued(NAME, stranger, issuer_at=url))) == "certificate-unknown-ca"


def test_one_for_another_name(tmp_path: Path, root: Issued) -> None:
    findings = judged(tmp_path, root, Issued("other.example", root))
    assert problem_of(findings) == "certificate-name"
    assert "other.example" in findings[-1].saw


def test_a_common_name_alone_is_no_name(tmp_path: Path, root: Issued) -> None:
    findings = judged(tmp_path, root, Issued(NAME, root, alternative_name=False))
    assert problem_of(findings) == "certificate-name"
    assert "subjectAltName" in findings[-1].saw


def test_a_root_that_is_trusted_and_expired(tmp_path: Path) -> None:
    old = Issued("Old", ca=True, end=NOW - DAY)
    findings = judged(tmp_path, old, Issued(NAME, old))
    assert problem_of(findings) == "certificate-expired"
    assert "--ca" in findings[-1].saw


def test_a_key_that_browsers_do_not_take(tmp_path: Path, root: Issued) -> None:
    findings = judged(tmp_path, root, Issued(NAME, root, key=ed25519.Ed25519PrivateKey.generate()))
    assert "certificate-key" in warnings_of(findings)


def test_an_address_instead_of_the_name(tmp_path: Path, root: Issued) -> None:
    assert problem_of(judged(tmp_path, root, Issued(NAME, root), name="127.0.0.1")) == "certificate-address"


def test_a_weak_key(tmp_path: Path, root: Issued) -> None:
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505  # the fault
    assert problem_of(judged(tmp_path, root, Issued(NAME, root, key=weak))) == "certificate-weak"


def test_one_that_ends_soon(tmp_path: Path, root: Issued) -> None:
    assert "certificate-soon" in warnings_of(judged(tmp_path, root, Issued(NAME, root, end=NOW + 5 * DAY)))


def test_an_issuer_that_is_no_ca(tmp_path: Path, root: Issued) -> None:
    leaf = Issued("leaf.example", root)
    assert problem_of(judged(tmp_path, root, Issued(NAME, leaf), leaf)) == "certificate-refused"


def test_a_ca_that_strict_clients_refuse(tmp_path: Path) -> None:
    lax = Issued("Lax", ca=True, key_usage=False)
    assert "certificate-strict" in warnings_of(judged(tmp_path, lax, Issued(NAME, lax)))


def test_a_client_certificate_is_asked_for(tmp_path: Path) -> None:
    ca, clients = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(NAME).configure_cert(context)
    clients.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    ca_file = write_bundle(tmp_path / "ca.pem", ca.cert_pem.bytes())
    with serving(lambda connection: void(read_head(connection)), context) as port:
        assert problem_of(examine_port(port, ca=ca_file)) == "client-certificate"
        mine = clients.issue_cert("client.example")
        pair = write_bundle(tmp_path / "client.pem", mine.private_key_and_cert_chain_pem.bytes())
        assert problem_of(examine_port(port, ca=ca_file, client_cert=pair)) == "upgrade-cut"
