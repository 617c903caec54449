"""`docker compose run --rm certs …`: what is served, what could be, and development pairs."""

from pathlib import Path

import pytest
import trustme
from fixtures import NewStack
from images import Outcome
from pairs import write_pair
from stack import Stack

pytestmark = pytest.mark.profiles("nginx")


@pytest.fixture
def stack(profile: str, new_stack: NewStack, tmp_path: Path) -> Stack:
    """Not up: a CERTS_DIR with nothing in it yet."""
    stack = new_stack(profile, CERTS_DIR=str(tmp_path))
    stack.build()
    return stack


def _certs(stack: Stack, *arguments: str) -> Outcome:
    return stack.compose("run", "--rm", *arguments)


def test_a_pair_is_checked_before_it_is_put_in(stack: Stack, ca: trustme.CA, tmp_path: Path) -> None:
    for name, domain in (("good", "localhost"), ("bad", "other.example")):
        (tmp_path / name).mkdir()
        write_pair(ca.issue_cert(domain), tmp_path / name)
    good = _certs(stack, "certs", "check", "good")
    assert good.code == 0
    assert "valid: this pair can be served" in good.output
    bad = _certs(stack, "certs", "check", "bad")
    assert bad.code == 1
    assert "certs: bad: the certificate is for other.example, but DOMAIN has localhost" in bad.output
    mounted = _certs(stack, f"--volume={tmp_path / 'good'}:/new:ro", "certs", "check", "/new")
    assert mounted.code == 0
    assert "certs: nowhere: there is no pair" in _certs(stack, "certs", "check", "nowhere").output


def test_a_development_pair_is_made_for_names_but_over_nothing_of_ones_own(
    stack: Stack, ca: trustme.CA, tmp_path: Path
) -> None:
    for _ in range(2):  # its own it replaces
        made = _certs(stack, "certs", "new", "localhost", "dev.example")
        assert made.code == 0, made.output
        assert "names   localhost, dev.example, 127.0.0.1, ::1" in made.output
    write_pair(ca.issue_cert("localhost"), tmp_path)
    mine = (tmp_path / "server.key").read_bytes()
    refused = _certs(stack, "certs", "new", "dev.example")
    assert refused.code == 1
    assert "server.pem is there, is not of a development pair, and is not overwritten" in refused.output
    assert (tmp_path / "server.key").read_bytes() == mine


def test_a_clients_certificate_is_made_with_its_ca(stack: Stack, tmp_path: Path) -> None:
    made = _certs(stack, "certs", "new", "--client", "Zoe Example")
    assert made.code == 0, made.output
    assert "CLIENT_CA=client-ca.pem" in made.output
    assert {file.name for file in tmp_path.iterdir()} == {"client-ca.pem", "client.key", "client.pem"}


def test_nothing_is_written_where_it_must_not_be(stack: Stack, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    read_only = _certs(stack, f"--volume={empty}:/certs:ro", "certs", "serve")
    assert read_only.code == 1
    assert "the directory is mounted read-only. Put a pair there" in read_only.output
    (tmp_path / "archive").mkdir()
    for command in (("serve",), ("new", "dev.example"), ("new", "--client", "zoe")):
        refused = _certs(stack, "certs", *command)
        assert refused.code == 1
        assert "archive/ is there, so this is certbot's directory" in refused.output
    assert {file.name for file in tmp_path.iterdir()} == {"archive", "empty"}


def test_what_is_served_is_shown(stack: Stack, ca: trustme.CA, tmp_path: Path) -> None:
    assert "no pair is published yet" in _certs(stack, "certs", "show").output
    write_pair(ca.issue_cert("localhost"), tmp_path)
    stack.up()
    shown = _certs(stack, "certs", "show").output
    for word in ("names   localhost", "issuer", "serial", "days left", "ECDSA secp256r1", "chain"):
        assert word in shown
