"""The identity in a client certificate has the same format if nginx, Apache or the backend has verified it."""

import pytest
from multidict import CIMultiDict
from wss.handshake.client_certificate import ClientCertificate, from_headers, from_peercert


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        (((("organizationName", "Example"),), (("commonName", "alice"),)), "CN=alice,O=Example"),
        (((("commonName", "a"), ("userId", "b")),), "CN=a+UID=b"),
        (((("commonName", 'a,b+c"d\\e<f>g;h'),),), r"CN=a\,b\+c\"d\\e\<f\>g\;h"),
        (((("commonName", " #x "),),), r"CN=\ #x\ "),
        (((("commonName", "#x"),),), r"CN=\#x"),
        (((("commonName", "Zoë"),),), r"CN=Zo\C3\AB"),
        (((("commonName", "a\n\0b\x7f"),),), r"CN=a\0A\00b\7F"),
        (((("emailAddress", "a@b.c"),),), "emailAddress=a@b.c"),
        ((), ""),
    ],
)
def test_a_subject_is_formatted_by_rfc_4514(subject: object, text: str) -> None:
    assert from_peercert({"subject": subject, "serialNumber": "0A", "issuer": subject}) == ClientCertificate(
        text, "0A", text
    )


def test_without_certificate_there_is_no_identity() -> None:
    assert from_peercert(None) is None
    assert from_peercert({}) is None
    assert from_headers(CIMultiDict()) is None
    assert from_headers(CIMultiDict({"X-Client-Subject": "CN=alice"})) is None


@pytest.mark.parametrize("subject", [r"CN=Zo\C3\AB", "CN=Zoë", "CN=Zo\udcc3\udcab"])
def test_the_subject_of_a_proxy_is_normalized(subject: str) -> None:
    headers = CIMultiDict({"X-Client-Subject": subject, "X-Client-Serial": "0A", "X-Client-Issuer": subject})
    assert from_headers(headers) == ClientCertificate(r"CN=Zo\C3\AB", "0A", r"CN=Zo\C3\AB")


@pytest.mark.parametrize(
    ("header", "subject"), [("CN=a\\", "CN=a\\ "), ("CN=a\\\\", "CN=a\\\\"), ("CN=\\\\\\", "CN=\\\\\\ "), ("", "")]
)
def test_the_escaped_space_at_the_end_of_a_subject_is_kept(header: str, subject: str) -> None:
    headers = CIMultiDict({"X-Client-Subject": header, "X-Client-Serial": "0A", "X-Client-Issuer": header})
    assert from_headers(headers) == ClientCertificate(subject, "0A", subject)
