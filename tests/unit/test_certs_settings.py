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
