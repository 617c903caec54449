"""The settings of the certificate service: what no ACME server can issue is reported at the start."""

from pathlib import Path
from typing import Any

import pytest
from certificates import CertificateError, settings
from certificates.acme import LETS_ENCRYPT

STAGING = "https://acme-staging.example/directory"


@pytest.fixture(autouse=True)
def _port_80(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "WEBROOT", tmp_path)


def read(**environment: str) -> settings.Settings:
    environ: Any = {"CERTS": "acme", **environment}
    return settings.read_settings(environ)


@pytest.mark.parametrize("domain", ["", "localhost", "shop", "shop.local", "example.com,192.168.0.1", "[::1]"])
def test_only_public_names_are_requested_from_a_public_ca(domain: str) -> None:
    with pytest.raises(CertificateError, match="no public CA issues a certificate for DOMAIN="):
        read(DOMAIN=domain)
    assert read(DOMAIN=domain, ACME_DIRECTORY=STAGING).order


def test_public_names_and_addresses_are_accepted() -> None:
    order = read(DOMAIN="example.com,1.1.1.1", ACME_EMAIL="you@example.com").order
    assert order
    assert (order.directory, order.domain, order.email) == (LETS_ENCRYPT, ["example.com", "1.1.1.1"], "you@example.com")


@pytest.mark.parametrize("email", ["you", "@example.com", "you@"])
def test_an_invalid_email_address_is_reported(email: str) -> None:
    with pytest.raises(CertificateError, match=f"ACME_EMAIL='{email}' is not an email address"):
        read(DOMAIN="example.com", ACME_EMAIL=email)


@pytest.mark.parametrize(
    ("kid", "file", "error"),
    [
        ("kid-1", "", "belong together. Set both"),
        ("", "eab.key", "belong together. Set both"),
        ("'kid 1'", "eab.key", "is not an ID"),
        ("kid-1", "/etc/eab.key", "names a file in CERTS_DIR"),
        ("kid-1", "missing.key", r"not readable in CERTS_DIR \(No such file"),
        ("kid-1", "wrong.key", "is not one key in base64url"),
        ("kid-1", "empty.key", "is not one key in base64url"),
        ("kid-1", "binary.key", r"not readable in CERTS_DIR \(not text"),
    ],
)
def test_a_wrong_account_binding_is_reported_without_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kid: str, file: str, error: str
) -> None:
    monkeypatch.setattr(settings, "INPUT", tmp_path)
    (tmp_path / "eab.key").write_text("c2VjcmV0LWtleQ")
    (tmp_path / "wrong.key").write_text("kid-1 c2VjcmV0LWtleQ")
    (tmp_path / "empty.key").write_text("\n")
    (tmp_path / "binary.key").write_bytes(b"c2VjcmV0\xff")
    with pytest.raises(CertificateError, match=error) as refused:
        read(DOMAIN="example.com", ACME_EAB_KID=kid, ACME_EAB_HMAC_KEY_FILE=file)
    assert "c2VjcmV0" not in str(refused.value)


@pytest.mark.parametrize("written", ["-_-_c2VjcmV0LWtleQ", "+/+/c2VjcmV0LWtleQ==\r\n"])
def test_the_key_of_an_account_binding_is_read_in_both_alphabets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setattr(settings, "INPUT", tmp_path)
    (tmp_path / "eab.key").write_text(written)
    order = read(DOMAIN="example.com", ACME_EAB_KID="kid-1", ACME_EAB_HMAC_KEY_FILE="eab.key").order
    assert order
    assert order.binding
    assert order.binding.key == "-_-_c2VjcmV0LWtleQ"
    assert "c2VjcmV0" not in repr(order)
