"""HUB: what `check` accepts, the hub's client connects with; and no error contains a password."""

import string
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from wss.config.environment import SettingError
from wss.config.settings import read_settings
from wss.rooms.hub_client import open_client

PASSWORDS = st.text(min_size=1).filter(lambda text: "\x00" not in text)
HOSTS = st.one_of(
    st.from_regex(r"[a-z_]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z]{2,9}){0,3}", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{IPv6Address(address)}]"),
)


def connection(url: str, password_file: Path | None = None) -> dict[str, Any]:
    """Return what the client of the hub connects with."""
    settings = read_settings({"HUB": url, "HUB_PASSWORD_FILE": str(password_file or "")})
    kwargs: dict[str, Any] = open_client(settings).connection_pool.connection_kwargs
    return {key: kwargs.get(key) for key in ("host", "port", "username", "password", "db")}


def refusal(url: str) -> str:
    with pytest.raises(SettingError) as refused:
        read_settings({"HUB": url})
    return str(refused.value)


@given(
    scheme=st.sampled_from(["valkey", "redis", "Redis"]),
    username=st.none() | st.text(min_size=1),
    password=PASSWORDS,
    host=HOSTS,
    port=st.none() | st.integers(1, 65535),
    database=st.none() | st.integers(0, 999),
)
def test_the_client_connects_with_what_the_url_has(
    scheme: str, username: str | None, password: str, host: str, port: int | None, database: int | None
) -> None:
    credentials = f"{quote(username or '', safe='')}:{quote(password, safe='')}@"
    url = f"{scheme}://{credentials}{host}{f':{port}' if port else ''}{'' if database is None else f'/{database}'}"
    assert connection(url) == {
        "host": host.strip("[]"),
        "port": port or 6379,
        "username": username,
        "password": password,
        "db": database or 0,
    }


@given(password=st.text(set(string.printable) - set(string.whitespace) - {"%"}, min_size=1))
def test_only_a_percent_sign_of_a_password_needs_an_encoding(password: str) -> None:
    assert connection(f"valkey://:{password}@hub:6380")["password"] == password


@given(url=st.text() | st.text().map("valkey://{}".format) | st.text().map("redis://:{}@hub".format))
def test_any_url_is_accepted_by_the_client_or_refused_with_a_remedy(url: str) -> None:
    assume(url.strip())
    message = None
    try:
        open_client(read_settings({"HUB": url}))
    except SettingError as error:
        message = str(error)
    assert message is None or (message.startswith("HUB=…: ") and "Give " in message)


@given(
    url=st.sampled_from(
        [
            "valkey://:{}@",
            "{}",
            "valkey://:{}",
            "valkey://{}@hub:port",
            "valkey://:{}%ff@hub",
            "rediss://:{}@hub",
            "valkey:/:{}@hub",
            ":{}@hub",
            "'valkey://:{}@hub'",
            "valkey://:{}@hub/1/2",
        ]
    ),
    password=st.from_regex(r"[#?/:%a-z ]{0,5}SECRET[#?/:@%a-z]{0,5}", fullmatch=True),
)
def test_an_error_contains_no_part_of_the_password(url: str, password: str) -> None:
    message = ""
    try:
        read_settings({"HUB": url.format(password)})  # valid, if the "@" of the password has a host after it
    except SettingError as error:
        message = str(error)
    assert "SECRET" not in message


@pytest.mark.parametrize("url", ["hub", "hub:6379", "http://hub", "valkey://", "valkey://hub:99999", "valkey://hub:0"])
def test_what_is_no_url_of_the_hub_is_refused(url: str) -> None:
    assert refusal(url).startswith("HUB=…: not the URL of a Valkey server. Give valkey://host, or valkey://:password@")


def test_tls_to_the_hub_is_refused_by_name() -> None:
    assert "TLS to the hub is not supported" in refusal("rediss://:password@hub")


def test_nobody_prints_the_password_by_chance() -> None:
    settings = read_settings({"HUB": "valkey://:se#cret@hub", "PUSH_TOKEN": "push-secret"})
    assert "cret" not in f"{settings!r} {settings.hub} {settings.hub!r}"
    assert str(settings.hub) == "valkey://…@hub:6379"


@pytest.mark.parametrize(
    ("url", "contents", "password"),
    [
        ("valkey://hub", None, None),
        ("valkey://hub", "\tse crét\r\n", "se crét"),
        ("valkey://:other@hub", "secret", "other"),
    ],
)
def test_the_password_may_come_from_a_file(
    tmp_path: Path, url: str, contents: str | None, password: str | None
) -> None:
    file = tmp_path / "password"
    if contents:
        file.write_text(contents)
    assert connection(url, file)["password"] == password


def test_an_unreadable_file_with_the_password_is_an_error_without_its_contents(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(b"secret\xff")
    with pytest.raises(SettingError, match=r"^HUB_PASSWORD_FILE='.*': not readable \(not UTF-8\)\. Give ") as refused:
        connection("valkey://hub", file)
    assert "secret" not in str(refused.value)
