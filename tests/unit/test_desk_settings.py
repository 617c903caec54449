"""The settings of the desk: what an ACME server cannot be asked for is said at the start."""

from pathlib import Path
from typing import Any

import pytest
from desk import CertificateError, settings
from desk.acme import LETS_ENCRYPT

STAGING = "https://acme-staging.example/directory"


@pytest.fixture(autouse=True)
def _port_80(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "WEBROOT", tmp_path)


def read(**environment: str) -> settings.Settings:
    environ: Any = {"CERTS": "acme", **environment}
    return settings.read_settings(environ)


@pytest.mark.parametrize("domain", ["", "localhost", "shop", "shop.local", "example.com,192.168.0.1", "[::1]"])
def test_a_public_ca_is_asked_for_public_names_alone(domain: str) -> None:
    with pytest.raises(CertificateError, match="is nothing that a public CA issues for"):
        read(DOMAIN=domain)
    assert read(DOMAIN=domain, ACME_DIRECTORY=STAGING).order


def test_public_names_and_addresses_are_fine() -> None:
    order = read(DOMAIN="example.com,1.1.1.1", ACME_EMAIL="you@example.com").order
    assert order
    assert (order.directory, order.domain, order.email) == (LETS_ENCRYPT, ["example.com", "1.1.1.1"], "you@example.com")


@pytest.mark.parametrize("email", ["you", "@example.com", "you@"])
def test_what_is_no_address_is_named(email: str) -> None:
    with pytest.raises(CertificateError, match=f"ACME_EMAIL='{email}' is no address"):
        read(DOMAIN="example.com", ACME_EMAIL=email)
