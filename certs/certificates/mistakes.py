"""Cause and remedy for a file that holds no certificate and no key that can be used."""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable
from contextlib import suppress

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_der_public_key,
    pkcs7,
)

PASSWORD_SETTING = "CERTS_PASSWORD_FILE"  # noqa: S105  # the name of a setting
_ASN1 = b"\x30"  # a SEQUENCE (X.690 section 8.9)
_PARSE_ERRORS = (ValueError, TypeError, UnsupportedAlgorithm)

_CSR = (
    "is a certificate request (CSR), not a certificate. Put there what the CA issued for it, and the private key that"
    " it was made with"
)
_PUBLIC_KEY = "is a public key. Put the private key there"
_OPENSSH = (
    "is in OpenSSH's format. TLS keys are not SSH keys; if it belongs to the certificate, convert a copy:"
    " ssh-keygen -p -N '' -m PKCS8 -f {file}"
)
_PKCS7 = "is in PKCS#7 format. Convert it: openssl pkcs7 {form}-print_certs -in {file} -out server.pem"
_ARCHIVE = "is an archive. Put the files that are in it there"
_EMPTY = "is empty. Put the file there again"

_LABELS = {
    "CERTIFICATE REQUEST": _CSR,
    "NEW CERTIFICATE REQUEST": _CSR,
    "PUBLIC KEY": _PUBLIC_KEY,
    "RSA PUBLIC KEY": _PUBLIC_KEY,
    "OPENSSH PRIVATE KEY": _OPENSSH,
    "PKCS7": _PKCS7.replace("{form}", ""),
    "CMS": _PKCS7.replace("{form}", ""),
    "X509 CRL": "is a revocation list, not a certificate. Put the certificate there",
    "TRUSTED CERTIFICATE": "is in OpenSSL's own TRUSTED format. Convert it: openssl x509 -in {file} -out server.pem",
    "PGP PUBLIC KEY BLOCK": "is a PGP key, which TLS cannot use. Put a certificate there",
    "PGP PRIVATE KEY BLOCK": "is a PGP key, which TLS cannot use. Put the certificate's private key there",
    "ATTRIBUTE CERTIFICATE": "is an attribute certificate, which TLS cannot use. Put the server's certificate there",
}

# They may have PEM blocks in them.
_BINARY = (
    (b"\xfe\xed\xfe\xed", "is a Java keystore (JKS). Convert it: keytool -importkeystore -srckeystore {file}"
     " -destkeystore server.pfx -deststoretype PKCS12"),
    (b"\xce\xce\xce\xce", "is a Java keystore (JCEKS). Convert it: keytool -importkeystore -srckeystore {file}"
     " -srcstoretype JCEKS -destkeystore server.pfx -deststoretype PKCS12"),
    (b"PK\x03\x04", _ARCHIVE),
    (b"\x1f\x8b", _ARCHIVE),
    (b"7z\xbc\xaf", _ARCHIVE),
    (b"Rar!", _ARCHIVE),
)  # fmt: skip
_BEGINNINGS = (
    *_BINARY,
    (b"PuTTY-User-Key-File", "is a PuTTY key, which TLS cannot use. Put the certificate's private key there"),
    (b"ssh-", "is an SSH public key, which TLS cannot use. Put the certificate's files there"),
    (b"ecdsa-sha2-", "is an SSH public key, which TLS cannot use. Put the certificate's files there"),
    (b"---- BEGIN SSH2", "is an SSH public key, which TLS cannot use. Put the certificate's files there"),
    (b"<", "is a web page or XML, perhaps of a failed download. Download the certificate again"),
    (b"{", "is JSON. Put its certificate and its key there, each in PEM (Traefik's acme.json: traefik-certs-dumper)"),
    (b"Certificate:", "is a certificate's description without its PEM block. Put the PEM file there"),
    (b"Private-Key:", "is a key's description without its PEM block. Put the PEM file there"),
)  # fmt: skip


def _der_formats() -> tuple[tuple[Callable[[bytes], object], str], ...]:
    der = "is in DER form. Convert it: openssl"
    return (
        (x509.load_der_x509_certificate, f"{der} x509 -inform DER -in {{file}} -out server.pem"),
        (lambda data: load_der_private_key(data, None), f"{der} pkey -inform DER -in {{file}} -out server.key"),
        (x509.load_der_x509_csr, _CSR),
        (x509.load_der_x509_crl, _LABELS["X509 CRL"]),
        (pkcs7.load_der_pkcs7_certificates, _PKCS7.replace("{form}", "-inform DER ")),
        (load_der_public_key, _PUBLIC_KEY),
    )


def is_pkcs12(data: bytes) -> bool:
    """Whether the bytes are a .pfx or .p12 file (RFC 7292 section 4: version 3, then PKCS#7 data)."""
    return data.startswith(_ASN1) and b"\x02\x01\x03\x30" in data[:12]


def is_binary(data: bytes) -> bool:
    """Whether the bytes are an archive or a keystore."""
    return data.startswith(tuple(beginning for beginning, _ in _BINARY))


def explain_file(data: bytes, text: str, file: str) -> str:
    """Return cause and remedy of a file without complete PEM blocks; empty if it is no part of TLS."""
    if "BEGIN " in text and not is_binary(data) and (cause := _broken_armour(text)):
        return f"{file} {cause}"
    if not data.strip(b" \t\r\n\0\xef\xbb\xbf\xff\xfe"):
        return f"{file} {_EMPTY}"
    for beginning, cause in _BEGINNINGS:
        if data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(beginning):
            return f"{file} {cause.replace('{file}', file)}"
    if data.startswith(_ASN1) and (cause := _explain_der(data)):
        return f"{file} {cause.replace('{file}', file)}"
    return f"{file} {cause}" if (cause := _explain_base64(text, file)) else ""


def _broken_armour(text: str) -> str:
    begins, ends = text.count("-----BEGIN "), text.count("-----END ")
    if not begins:
        return (
            "has damaged BEGIN and END lines: they need five plain hyphens on both sides, such as"
            " -----BEGIN CERTIFICATE-----. Copy the original file, not text from a document or a page"
        )
    if begins > ends:
        return f"is truncated: it has {begins} BEGIN lines and {ends} END lines. Copy the complete file"
    if begins < ends:
        return f"lacks its beginning: it has {begins} BEGIN lines and {ends} END lines. Copy the complete file"
    return (
        "has BEGIN and END lines that do not match, such as BEGIN RSA PRIVATE KEY with END PRIVATE KEY, or lack one of"
        " the five hyphens. Copy the original file"
    )


def _explain_der(data: bytes) -> str:
    for parse, cause in _der_formats():
        with suppress(*_PARSE_ERRORS):
            parse(data)
            return cause
    size = data[2:4]
    if data[1:2] == b"\x82" and int.from_bytes(size, "big") + 4 > len(data):
        return "is in DER form, and truncated. Copy the complete file in binary mode, and convert it to PEM"
    if data[1:2] == b"\x82" and int.from_bytes(size, "big") + 4 < len(data):
        return "is in DER form, with more data behind it. Put each certificate there in PEM (openssl x509 -inform DER)"
    return ""


def _explain_base64(text: str, file: str) -> str:
    compact = re.sub(r"\s", "", text)
    if len(compact) < 64 or not re.fullmatch(r"[A-Za-z0-9+/]+=*", compact):
        return ""
    with suppress(Base64Error):
        decoded = b64decode(compact)
        if b"-----BEGIN " in decoded:
            return f"is PEM in base64 once more, as in a Kubernetes secret. Decode it: base64 -d {file} > server.pem"
        if is_pkcs12(decoded):
            return f"is a .pfx file in base64. Decode it: base64 -d {file} > server.pfx"
        if decoded.startswith(_ASN1) and (cause := _explain_der(decoded)):
            if cause.startswith("is in DER form. "):
                kind = "pkey" if " pkey " in cause else "x509"
                return (
                    "is base64 without the BEGIN and END lines of PEM. Add them, or convert it:"
                    f" base64 -d {file} | openssl {kind} -inform DER -out server.{'key' if kind == 'pkey' else 'pem'}"
                )
            return f"is base64 without its BEGIN and END lines, and {cause.replace('{file}', file)}"
    return ""


def explain_block(
    file: str,
    label: str,
    where: str = "",
    body: str = "",
    error: Exception | None = None,
    *,
    has_password: bool = False,
) -> str:
    """Return cause and remedy of a PEM block, or a PKCS#12 file, that cannot be used; `where` names the block."""
    if error is None:
        cause = _LABELS.get(
            label, f"has a block {label!r}, which is neither a certificate nor a private key. Remove it"
        )
        return f"{file} {cause.replace('{file}', file)}"
    if label == "PKCS12":
        return f"{file} {_explain_pkcs12(file, has_password=has_password)}"
    if isinstance(error, TypeError) or "password" in str(error).lower() or label.startswith("ENCRYPTED"):
        if has_password:
            return f"{PASSWORD_SETTING} has another password than {where}. Correct the file that it names"
        return (
            f"{where} is encrypted. Put its password into a file there and set {PASSWORD_SETTING} to the file's name;"
            f" or remove the encryption: openssl pkey -in {file} -out server.key"
        )
    if isinstance(error, UnsupportedAlgorithm):
        return f"{where} has an algorithm that TLS servers do not support ({error}). Put another pair there"
    if "\\n" in body:
        return (
            f'{where} has the two characters "\\n" in place of line ends, as in JSON or a variable. Write it again:'
            f" printf '%b' \"$VARIABLE\" > {file}"
        )
    if foreign := re.search(r"[^A-Za-z0-9+/=\s]", body):
        return f"{where} has a character that is not base64: {foreign[0]!r}. Copy the original file again"
    kind = "private key" if label.endswith("KEY") else "certificate"
    return f"{where} is not a {kind}: it is truncated or damaged. Copy the complete file again"


def _explain_pkcs12(file: str, *, has_password: bool) -> str:
    if has_password:
        return f"cannot be opened with the password of {PASSWORD_SETTING}, or is damaged. Correct the password"
    return (
        f"is a PKCS#12 file with a password. Put the password into a file there and set {PASSWORD_SETTING} to the"
        f" file's name; or convert it: openssl pkcs12 -in {file} -nokeys -out server.pem; openssl pkcs12 -in {file}"
        " -nocerts -noenc -out server.key"
    )
