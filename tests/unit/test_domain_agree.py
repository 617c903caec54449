"""DOMAIN has one grammar and one meaning: in the backend, the certificate service, and for TLS clients."""

import string
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from certificates import CertificateError
from certificates.check import check_pair
from certificates.development import make_pair
from certificates.domain import concrete, covers, is_public, parse_domain
from certificates.publish import stage
from certificates.source import read_pair
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wss.config import addresses
from wss.config.domain import Domain

ENDS = string.ascii_letters + string.digits + "_"
LABEL = st.builds("{}{}{}".format, st.sampled_from(ENDS), st.text(ENDS + "-", max_size=61), st.sampled_from(ENDS))
NAME = st.builds("{}{}".format, st.sampled_from(["", "*."]), st.lists(LABEL, min_size=1, max_size=3).map(".".join))
HOST = NAME | st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(lambda address: f"[{address}]")
LONGEST = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])


def backends(value: str) -> Domain | None:
    try:
        return addresses.domain(value)
    except ValueError:
        return None


def certs(value: str) -> list[str] | None:
    try:
        return parse_domain(value)
    except CertificateError:
        return None


@given(st.text(string.printable + "é\u212a\u00a0") | st.lists(HOST | st.text("[]:.*%_-aA1 ")).map(",".join))
@example("[fe80::1%eth0]")
@example("\u212a.example")
@example("*.example.com , [2001:db8::1],\n192.0.2.1")
@example(",")
@example("a\u00a0")
def test_both_accept_the_same_values(value: str) -> None:
    names = certs(value)
    assert (None if names is None else frozenset(names)) == backends(value)


@settings(max_examples=30)
@given(st.lists(HOST, min_size=1, max_size=5).map(",".join).filter(backends))
@example(LONGEST)
@example(f"*.{LONGEST[2:]}")
@example("my_service,*.example.com,xn--mnchen-3ya.example,2130706433.a")
@example(",".join(f"{i}.example.com" for i in range(500)))
def test_every_name_gets_a_certificate_that_clients_accept_for_it(value: str) -> None:
    names = parse_domain(value)
    with TemporaryDirectory() as directory, TemporaryDirectory() as volume:
        make_pair(Path(directory), names)
        pair = read_pair(Path(directory))
        assert pair
        check_pair(pair, names, stage(pair, Path(volume)), [Path(directory) / "ca.pem"])
        assert all(covers(pair.names, name) for name in names)
    assert all(concrete(name) in addresses.domain(value) for name in names)


@pytest.mark.parametrize(
    ("name", "is_served"),
    [
        *(("www.example.com", True), ("WWW.example.com", False), ("_x.example.com", True), ("example.com", False)),
        *(("a.b.example.com", False), ("*.example.com", False), (".example.com", False), ("-.example.com", False)),
        *(("example.org", True), ("www.example.org", False), ("a b.example.com", False), ("192.0.2.1", False)),
    ],
)
def test_a_wildcard_serves_one_label(name: str, is_served: bool) -> None:
    assert (name in addresses.domain("*.example.com,example.org")) is is_served


@pytest.mark.parametrize(
    ("names", "name", "is_covered"),
    [
        (["*.example.com"], "www.example.com", True),
        (["*.Example.com"], "*.example.com", True),
        (["*.example.com"], "example.com", False),
        (["*.example.com"], "a.b.example.com", False),
        (["www.example.com"], "*.example.com", False),
        (["*.0.2.1"], "192.0.2.1", False),
        (["2001:db8::1"], "2001:db8::1", True),
    ],
)
def test_what_a_certificate_covers(names: list[str], name: str, is_covered: bool) -> None:
    assert covers(names, name) is is_covered


@pytest.mark.parametrize("name", ["example.com", "*.example.com", "1.1.1.1", "2606:4700::1111", "example.org.uk"])
def test_public_names(name: str) -> None:
    assert is_public(name)


@pytest.mark.parametrize(
    "name",
    [
        *("localhost", "shop", "*.shop", "shop.test", "shop.local", "a.localhost", "shop.internal", "shop.example"),
        *("shop.home.arpa", "127.0.0.1", "10.0.0.1", "::1", "fd00::1", "fe80::1", "192.0.2.1", "*.shop.test"),
    ],
)
def test_local_names(name: str) -> None:
    assert not is_public(name)
