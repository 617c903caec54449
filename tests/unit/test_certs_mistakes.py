"""What people put in place of a certificate and its key: each mistake has its cause and remedy, or does no harm."""

import base64
import gzip
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trustme
from certificates import CertificateError
from certificates.check import check_pair
from certificates.publish import stage
from certificates.source import Source
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    pkcs7,
    pkcs12,
)
from pairs import revocation_list


class Original:
    """The right files, and what mistakes are made of."""

    def __init__(self) -> None:
        self.ca = trustme.CA()
        leaf = self.ca.create_child_ca().issue_cert("localhost")
        self.blocks = [blob.bytes() for blob in leaf.cert_chain_pems]
        self.chain = b"".join(self.blocks)
        self.key = leaf.private_key_pem.bytes()
        self.certificates = x509.load_pem_x509_certificates(self.chain)
        self.leaf = self.certificates[0]
        private = load_pem_private_key(self.key, None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        self.private = private
        self.other = trustme.CA().issue_cert("localhost")

    def encrypted(self, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
        return self.private.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"secret"))

    def pfx(self, password: bytes) -> bytes:
        encryption = BestAvailableEncryption(password) if password else NoEncryption()
        return pkcs12.serialize_key_and_certificates(b"x", self.private, self.leaf, self.certificates[1:], encryption)

    def csr(self, encoding: Encoding) -> bytes:
        return (
            x509.CertificateSigningRequestBuilder(x509.Name([]))
            .sign(self.private, hashes.SHA256())
            .public_bytes(encoding)
        )

    def public_key(self, encoding: Encoding) -> bytes:
        return self.private.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
def original() -> Original:
    return Original()


Content = bytes | Callable[[Original], bytes]


def _content(of: Content, original: Original) -> bytes:
    return of if isinstance(of, bytes) else of(original)


def certificate(content: Content) -> Callable[[Original], dict[str, bytes]]:
    return lambda original: {"server.pem": _content(content, original), "server.key": original.key}


def key(content: Content) -> Callable[[Original], dict[str, bytes]]:
    return lambda original: {"server.pem": original.chain, "server.key": _content(content, original)}


def armoured(label: str, data: bytes = b"\x30\x03\x02\x01\x01") -> bytes:
    return f"-----BEGIN {label}-----\n{base64.b64encode(data).decode()}\n-----END {label}-----\n".encode()


def archived(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("server.crt", content)
    return file.getvalue()


def indented(text: bytes) -> bytes:
    return re.sub(rb"(?m)^", b"    ", text)


# The files are right but for their form: the pair is served.
HARMLESS = {
    "glued": certificate(lambda it: b"".join(block.rstrip() for block in it.blocks)),
    "indented certificate": certificate(lambda it: indented(it.chain)),
    "indented key": key(lambda it: indented(it.key)),
    "CRLF": certificate(lambda it: it.chain.replace(b"\n", b"\r\n")),
    "CRLF key": key(lambda it: it.key.replace(b"\n", b"\r\n")),
    "CR": certificate(lambda it: it.chain.replace(b"\n", b"\r")),
    "no line ends": certificate(lambda it: it.chain.replace(b"\n", b" ")),
    "UTF-8 BOM": certificate(lambda it: b"\xef\xbb\xbf" + it.chain),
    "UTF-8 BOM key": key(lambda it: b"\xef\xbb\xbf" + it.key),
    "UTF-16 LE": certificate(lambda it: b"\xff\xfe" + it.chain.decode().encode("utf-16-le")),
    "UTF-16 BE": certificate(lambda it: b"\xfe\xff" + it.chain.decode().encode("utf-16-be")),
    "UTF-16 key without BOM": key(lambda it: it.key.decode().encode("utf-16-le")),
    "blank lines": certificate(lambda it: it.chain.replace(b"\n", b"\n\n")),
    "long lines": certificate(lambda it: re.sub(rb"(?<=[A-Za-z0-9+/])\n(?=[A-Za-z0-9+/])", b"", it.chain)),
    "text around": certificate(lambda it: "subject=Zoë\n".encode() + it.chain + b"\nbag attributes\n"),
    "no last line end": key(lambda it: it.key.rstrip()),
    "doubled": certificate(lambda it: it.chain * 2),
    "doubled key": key(lambda it: it.key * 2),
    "leaf twice": certificate(lambda it: it.blocks[0] + it.chain),
    "root first": certificate(lambda it: it.ca.cert_pem.bytes() + it.chain),
    "reversed": certificate(lambda it: b"".join(reversed(it.blocks))),
    "foreign certificate": certificate(lambda it: it.chain + trustme.CA().cert_pem.bytes()),
    "key first": certificate(lambda it: it.key + it.chain),
    "all in one file": lambda it: {"server.pem": it.chain + it.key},
    "swapped": lambda it: {"server.pem": it.key, "server.key": it.chain},
    "EC parameters": key(lambda it: armoured("EC PARAMETERS") + it.key),
    "traditional key": key(
        lambda it: it.private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    ),
    "X509 label": certificate(lambda it: it.chain.replace(b" CERTIFICATE-", b" X509 CERTIFICATE-")),
    "other names": lambda it: {"localhost.crt": it.blocks[0], "localhost.ca-bundle": it.blocks[1], "my.key": it.key},
    "PKCS#12 without password": lambda it: {"server.p12": it.pfx(b"")},
}  # fmt: skip

_DER = r"is in DER form\. Convert it: openssl "
_COPY = "Copy the complete file"
# The pair cannot be served: cause and remedy.
WRONG = {
    "empty": (certificate(b""), "server.pem is empty. Put the file there again"),
    "blank": (certificate(b"\n\n"), "server.pem is empty"),
    "zeros": (key(b"\0" * 512), "server.key is empty"),
    "text": (certificate(b"TODO\n"), "server.pem has no PEM block"),
    "text in place of the key": (key(b"TODO\n"), "server.key has no PEM block"),
    "truncated": (certificate(lambda it: it.chain[:-200]), f"server.pem is truncated: .* {_COPY}"),
    "truncated key": (key(lambda it: it.key[:100]), f"server.key is truncated: .* {_COPY}"),
    "beginning lost": (certificate(lambda it: it.chain[100:]), f"server.pem lacks its beginning.* {_COPY}"),
    "lines lost": (
        certificate(lambda it: re.sub(rb"(?s)(\n[^\n]+){4}(?=\n-----END)", b"", it.chain, count=1)),
        f"block 1 of server.pem is not a certificate: it is truncated or damaged. {_COPY}",
    ),
    "key lines lost": (
        key(lambda it: re.sub(rb"\n[^\n]+(?=\n-----END)", b"", it.key)),
        f"server.key is not a private key: it is truncated or damaged. {_COPY}",
    ),
    "a character changed": (
        certificate(lambda it: it.chain.replace(b"MII", b"M!I", 1)),
        "block 1 of server.pem has a character that is not base64: '!'",
    ),
    "quoted in a mail": (
        certificate(lambda it: re.sub(rb"(?m)^(?=[^-])", b"> ", it.chain)),
        "block 1 of server.pem has a character that is not base64: '>'",
    ),
    "an ellipsis": (
        certificate(b"-----BEGIN CERTIFICATE-----\nMIIB...\n-----END CERTIFICATE-----\n"),
        "server.pem has a character that is not base64: '.'",
    ),
    "dashes of a document": (
        certificate(lambda it: it.chain.replace(b"-----", "—".encode() * 2)), "damaged BEGIN and END lines"),
    "four hyphens": (
        certificate(lambda it: it.chain.replace(b"-----BEGIN", b"----BEGIN")), "damaged BEGIN and END lines"),
    "labels that differ": (
        key(lambda it: it.key.replace(b"END EC PRIVATE", b"END PRIVATE").replace(b"END PRIVATE", b"END RSA PRIVATE")),
        "server.key has BEGIN and END lines that do not match",
    ),
    r"backslash n": (
        certificate(lambda it: it.chain.replace(b"\n", rb"\n")),
        r"block 1 of server.pem has the two characters .* in place of line ends.*printf '%b'",
    ),
    "DER": (
        certificate(lambda it: it.leaf.public_bytes(Encoding.DER)), f"server.pem {_DER}x509 -inform DER -in server.pem",
    ),
    "DER key": (
        key(lambda it: it.private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())),
        f"server.key {_DER}pkey -inform DER -in server.key",
    ),
    "DER key, traditional": (
        key(lambda it: it.private.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())),
        f"server.key {_DER}pkey -inform DER",
    ),
    "DER, truncated": (
        certificate(lambda it: it.leaf.public_bytes(Encoding.DER)[:-9]), "is in DER form, and truncated"),
    "DER, several": (
        certificate(lambda it: b"".join(one.public_bytes(Encoding.DER) for one in it.certificates)),
        "is in DER form, with more data behind it",
    ),
    "DER under any name": (
        lambda it: {"example.cer": it.leaf.public_bytes(Encoding.DER), "example.key": it.key},
        f"example.cer {_DER}x509 .*; example.key is a private key, and its certificate is not there",
    ),
    "PKCS#7": (
        certificate(lambda it: pkcs7.serialize_certificates(it.certificates, Encoding.PEM)),
        "server.pem is in PKCS#7 format. Convert it: openssl pkcs7 -print_certs -in server.pem",
    ),
    "PKCS#7 in DER": (
        certificate(lambda it: pkcs7.serialize_certificates(it.certificates, Encoding.DER)),
        "server.pem is in PKCS#7 format. Convert it: openssl pkcs7 -inform DER -print_certs",
    ),
    "p7b beside the key": (
        lambda it: {
            "example.p7b": pkcs7.serialize_certificates(it.certificates, Encoding.PEM), "example.key": it.key},
        "example.key is a private key, and its certificate is not there.*; example.p7b is in PKCS#7 format",
    ),
    "PKCS#12 with a password": (
        lambda it: {"server.pfx": it.pfx(b"secret")},
        "server.pfx is a PKCS#12 file with a password.*CERTS_PASSWORD_FILE.*openssl pkcs12 -in server.pfx -nokeys",
    ),
    "PKCS#12 renamed": (
        certificate(lambda it: it.pfx(b"secret")), "server.pem is a PKCS#12 file with a password.*-nocerts -noenc"),
    "JKS": (
        certificate(b"\xfe\xed\xfe\xed\0\0\0\2"), "server.pem is a Java keystore.*keytool -importkeystore"),
    "ZIP": (certificate(lambda it: archived(it.chain)), "server.pem is an archive. Put the files that are in it there"),
    "gzip": (certificate(lambda it: gzip.compress(it.chain)), "server.pem is an archive"),
    "a web page": (certificate(b"<!DOCTYPE html><title>404</title>"), "is a web page.*Download"),
    "JSON": (certificate(b'{"certificate": "LS0t"}'), "server.pem is JSON"),
    "a description": (
        certificate(b"Certificate:\n    Data:\n        Version: 3 (0x2)\n"), "description without its PEM"),
    "base64 without armour": (
        certificate(lambda it: base64.encodebytes(it.leaf.public_bytes(Encoding.DER))),
        r"base64 without the BEGIN and END lines of PEM.*base64 -d server.pem \| openssl x509 -inform DER",
    ),
    "base64 key without armour": (
        key(lambda it: base64.encodebytes(
            it.private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))),
        r"base64 without the BEGIN and END lines of PEM.*base64 -d server.key \| openssl pkey -inform DER",
    ),
    "a Kubernetes secret": (
        certificate(lambda it: base64.b64encode(it.chain)), "PEM in base64 once more.*base64 -d server.pem"),
    "PKCS#12 in base64": (certificate(lambda it: base64.b64encode(it.pfx(b"x"))), "is a .pfx file in base64"),
    "CSR": (certificate(lambda it: it.csr(Encoding.PEM)), "server.pem is a certificate request.*what the CA issued"),
    "CSR in DER": (certificate(lambda it: it.csr(Encoding.DER)), "server.pem is a certificate request"),
    "old CSR": (certificate(armoured("NEW CERTIFICATE REQUEST")), "server.pem is a certificate request"),
    "CRL": (certificate(lambda it: revocation_list(it.ca)), "server.pem is a revocation list"),
    "public key": (
        key(lambda it: it.public_key(Encoding.PEM)), "server.key is a public key. Put the private key there"),
    "public key in DER": (key(lambda it: it.public_key(Encoding.DER)), "server.key is a public key"),
    "the certificate twice": (key(lambda it: it.chain), "server.key has no private key: it contains a certificate"),
    "the key twice": (certificate(lambda it: it.key), "server.pem has no certificate: it contains a private key"),
    "CA's certificate alone": (
        certificate(lambda it: it.ca.cert_pem.bytes()), "server.key is not the key of server.pem"),
    "intermediates alone": (certificate(lambda it: it.blocks[1]), "server.key is not the key of server.pem"),
    "another key": (key(lambda it: it.other.private_key_pem.bytes()), "server.key is not the key of server.pem"),
    "OpenSSH key": (
        key(lambda it: it.private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())),
        "server.key is in OpenSSH's format.*ssh-keygen -p .*-m PKCS8",
    ),
    "SSH public key": (
        key(lambda it: it.private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)),
        "server.key is an SSH public key",
    ),
    "PuTTY key": (key(b"PuTTY-User-Key-File-3: ecdsa\r\n"), "server.key is a PuTTY key"),
    "PGP": (key(armoured("PGP PRIVATE KEY BLOCK")), "server.key is a PGP key"),
    "TRUSTED": (
        certificate(armoured("TRUSTED CERTIFICATE")), "OpenSSL's own TRUSTED format.*openssl x509 -in"),
    "encrypted key": (
        key(lambda it: it.encrypted()), "server.key is encrypted.*CERTS_PASSWORD_FILE.*openssl pkey -in server.key"),
    "encrypted key, traditional": (
        key(lambda it: it.encrypted(PrivateFormat.TraditionalOpenSSL)), "server.key is encrypted"),
    "key missing": (lambda it: {"server.pem": it.chain}, "server.pem is there, but server.key is missing"),
    "certificate missing": (
        lambda it: {"server.key": it.key}, "server.key is a private key, and its certificate is not there"),
    "leaf alone of certbot": (
        lambda it: {"cert.pem": it.blocks[0]}, "cert.pem is there, but privkey.pem is missing"),
}  # fmt: skip


def serve(original: Original, files: dict[str, bytes], directory: Path) -> bytes:
    """Return what would be published."""
    for name, content in files.items():
        (directory / name).write_bytes(content)
    pair = Source(directory, ("localhost",)).find()
    assert pair
    root = directory.parent / "root.pem"
    original.ca.cert_pem.write_to_path(root)
    with TemporaryDirectory() as volume:
        check_pair(pair, ["localhost"], stage(pair.without_root(), Path(volume)), [root])
    return pair.without_root().certificate


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "certs").mkdir()
    return tmp_path / "certs"


@pytest.mark.parametrize("files", HARMLESS.values(), ids=HARMLESS)
def test_a_form_that_does_no_harm_is_served(
    original: Original, directory: Path, files: Callable[[Original], dict[str, bytes]]
) -> None:
    assert serve(original, files(original), directory) == original.chain


@pytest.mark.parametrize(("files", "error"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_reported_with_its_cause_and_remedy(
    original: Original, directory: Path, files: Callable[[Original], dict[str, bytes]], error: str
) -> None:
    with pytest.raises(CertificateError, match=error) as caught:
        serve(original, files(original), directory)
    message = str(caught.value)
    assert "\n" not in message
    # No remedy is about the kind of key: it is right in all these files.
    assert "P-256" not in message
    assert "secret" not in message.replace("Kubernetes secret", "")
