"""Port 80 of `direct`: ACME challenges and redirects."""

from pathlib import Path

import pytest
from wss.acme_http import respond
from wss.config.settings import read_settings


def ask(target: str, host: str, challenges: Path, **settings: str) -> str:
    head = f"GET {target} HTTP/1.1\r\nAccept: */*\r\nHost: {host}\r\nUser-Agent: x\r\n\r\n"
    return respond(head.encode(), read_settings({"DOMAIN": "wss.example,[::1]", **settings}), challenges).decode()


@pytest.mark.parametrize(
    ("host", "port", "location"),
    [
        ("wss.example", "8282", "https://wss.example:8282/page?x=1"),
        ("WSS.example:80", "443", "https://wss.example/page?x=1"),
        ("[::1]", "127.0.0.1:8443", "https://[::1]:8443/page?x=1"),
    ],
)
def test_every_get_is_redirected_to_https(tmp_path: Path, host: str, port: str, location: str) -> None:
    answer = ask("/page?x=1", host, tmp_path, DIRECT_PORT=port)
    assert answer.startswith("HTTP/1.1 308 ")
    assert f"\r\nLocation: {location}\r\n" in answer


@pytest.mark.parametrize("line", ["POST / HTTP/1.1", "GET / HTTP/1.0", "HEAD / HTTP/1.1"])
def test_other_methods_and_versions_are_redirected_to_https(tmp_path: Path, line: str) -> None:
    answer = respond(f"{line}\r\nHost: localhost\r\n\r\n".encode(), read_settings({}), tmp_path).decode()
    assert answer.startswith("HTTP/1.1 308 ")
    assert answer.endswith("\r\n\r\n") == line.startswith("HEAD")


def test_an_unknown_host_is_not_redirected(tmp_path: Path) -> None:
    assert ask("/", "evil.example", tmp_path).startswith("HTTP/1.1 421 ")


def test_a_challenge_is_served_from_its_file_and_no_other_file_is_served(tmp_path: Path) -> None:
    directory = tmp_path / ".well-known" / "acme-challenge"
    directory.mkdir(parents=True)
    (directory / "to-ken_1").write_text("to-ken_1.thumbprint")
    (tmp_path / "secret").write_text("secret")
    answer = ask("/.well-known/acme-challenge/to-ken_1", "wss.example", tmp_path)
    assert answer.startswith("HTTP/1.1 200 ")
    assert answer.endswith("\r\n\r\nto-ken_1.thumbprint\n")
    assert ask("/.well-known/acme-challenge/nope", "wss.example", tmp_path).startswith("HTTP/1.1 404 ")
    for path in ("/.well-known/acme-challenge/../../secret", "/.well-known/acme-challenge/%2e%2e/secret"):
        assert ask(path, "wss.example", tmp_path).startswith("HTTP/1.1 308 ")


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nX: Host: a\r\n\r\n"])
def test_a_request_without_host_is_a_bad_request(tmp_path: Path, head: bytes) -> None:
    assert respond(head, read_settings({}), tmp_path).startswith(b"HTTP/1.1 400 ")
