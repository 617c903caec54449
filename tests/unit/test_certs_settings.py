"""The settings of the certificate service: what no ACME server can issue is reported at the start."""

import base64
import re
from pathlib import Path
from typing import Any

import pytest
from certificates import CertificateError, settings
from certificates.acme import LETS_ENCRYPT
from certificates.challenge_zone import OPTIONS, ChallengeZone, read_secret

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


ZONE = {
    "ACME_DNS_SERVER": "ns1.example.net",
    "ACME_DNS_ZONE": "acme.example.net",
    "ACME_DNS_KEY_NAME": "acme-key",
    "ACME_DNS_KEY_FILE": "dns.key",
}
SECRET = base64.b64encode(b"secret-of-a-TSIG-key").decode()
KEY_FILES = {
    "dns.key": SECRET,
    "bind.key": f'key "acme-key" {{\n\talgorithm hmac-sha256;\n\tsecret "{SECRET}";\n}};\n',
    "knot.key": f"# hmac-sha256:acme-key:{SECRET}\nkey:\n- id: acme-key\n  secret: {SECRET}\n",
    "windows.key": f"{SECRET}\r\n",
    "two.key": f'secret "{SECRET}"; secret "{SECRET}";',
    "words.key": f"acme-key {SECRET}",
    "cut.key": SECRET[:-2],
    "empty.key": "\n",
}


@pytest.fixture
def key_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "INPUT", tmp_path)
    for name, content in KEY_FILES.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "binary.key").write_bytes(b"c2VjcmV0\xff")


def test_a_wildcard_needs_validation_over_dns() -> None:
    with pytest.raises(
        CertificateError, match=r"DOMAIN has '\*\.example\.com'\. Set ACME_DNS_SERVER, ACME_DNS_ZONE, ACM"
    ):
        read(DOMAIN="*.example.com")


@pytest.mark.usefixtures("key_files")
@pytest.mark.parametrize("file", ["dns.key", "bind.key", "knot.key", "windows.key"])
def test_the_key_of_the_challenge_zone_is_read_as_tools_print_it(file: str) -> None:
    order = read(DOMAIN="*.example.com", **{**ZONE, "ACME_DNS_KEY_FILE": file}).order
    assert order
    assert order.zone
    assert read_secret(order.zone.key_file) == b"secret-of-a-TSIG-key"
    assert SECRET not in repr(order)


@pytest.mark.usefixtures("key_files")
@pytest.mark.parametrize(
    ("server", "host", "port"),
    [
        ("ns1.example.net", "ns1.example.net", 53),
        ("ns1.example.net:5353", "ns1.example.net", 5353),
        ("192.0.2.53", "192.0.2.53", 53),
        ("[2001:db8::53]", "2001:db8::53", 53),
        ("[2001:db8::53]:5353", "2001:db8::53", 5353),
    ],
)
def test_the_server_of_the_challenge_zone_may_have_a_port(server: str, host: str, port: int) -> None:
    order = read(DOMAIN="*.example.com", **{**ZONE, "ACME_DNS_SERVER": server, "ACME_DNS_ZONE": "acme.test."}).order
    assert order
    assert order.zone
    assert (order.zone.server, order.zone.port, order.zone.zone) == (host, port, "acme.test")
    options = order.zone.options()
    values = {option: value for option, _, value in (each.partition("=") for each in options[2:])}
    names = {name: values[f"--challenge-zone-{name}"] for name in OPTIONS}
    assert ChallengeZone.from_options(names) == order.zone


@pytest.mark.usefixtures("key_files")
@pytest.mark.parametrize(
    ("changed", "error"),
    [
        *(({name: ""}, f"belong together, and {name} is not set. Set all four") for name in ZONE),
        ({"ACME_DNS_SERVER": "https://ns1.example.net"}, "is not a host. Set the zone's primary server"),
        ({"ACME_DNS_SERVER": "ns1.example.net:0"}, "is not a host"),
        ({"ACME_DNS_SERVER": "ns1.example.net:65536"}, "is not a host"),
        ({"ACME_DNS_SERVER": "2001:db8::53"}, "is not a host"),
        ({"ACME_DNS_ZONE": "*.example.net"}, r"ACME_DNS_ZONE='*.example.net' is not a DNS name"),
        ({"ACME_DNS_ZONE": "."}, "ACME_DNS_ZONE='.' is not a DNS name"),
        ({"ACME_DNS_KEY_NAME": "'acme key'"}, "is not a DNS name"),
        ({"ACME_DNS_ALGORITHM": "hmac-md5"}, "is not one of hmac-sha256"),
        ({"DOMAIN": "example.com,192.0.2.7"}, "DOMAIN has the address '192.0.2.7'. Remove one"),
        ({"ACME_DNS_KEY_FILE": "/etc/dns.key"}, "names a file in CERTS_DIR"),
        ({"ACME_DNS_KEY_FILE": "missing.key"}, "not readable in CERTS_DIR (No such file"),
        ({"ACME_DNS_KEY_FILE": "binary.key"}, "not readable in CERTS_DIR (not text)"),
        *(
            ({"ACME_DNS_KEY_FILE": file}, "does not contain one secret in base64. Put the output of tsig-keygen there")
            for file in ("two.key", "words.key", "cut.key", "empty.key")
        ),
    ],
)
def test_a_wrong_challenge_zone_is_reported_without_its_key(changed: dict[str, str], error: str) -> None:
    with pytest.raises(CertificateError, match=re.escape(error)) as refused:
        read(**{"DOMAIN": "*.example.com", "ACME_DIRECTORY": STAGING, **ZONE, **changed})
    assert "c2VjcmV0" not in str(refused.value)
