"""Every setting has a default, and an invalid value is an error that names the setting."""

import os
from pathlib import Path

import pytest
from wss.config.environment import SettingError
from wss.config.settings import read_settings


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = read_settings({})
    assert settings.app == "apps.ok:handler"
    assert set(settings.domain) == {"localhost"}
    assert settings.origins == frozenset()
    assert settings.workers == 1
    assert settings.port == 8282
    assert settings.tls_dir is None


def test_empty_values_count_as_absent() -> None:
    # Compose passes "" for a variable that is not set.
    assert read_settings(dict.fromkeys(("APP", "DOMAIN", "ORIGINS", "WORKERS", "PORT", "TLS_DIR"), " ")) == (
        read_settings({})
    )


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("example.com", {"example.com"}),
        ("Example.COM", {"example.com"}),
        (" a.example , b.example ,", {"a.example", "b.example"}),
        ("xn--caf-dma.example", {"xn--caf-dma.example"}),
        ("under_score", {"under_score"}),
        ("192.0.2.1", {"192.0.2.1"}),
        ("[2001:db8::1]", {"2001:db8::1"}),
    ],
)
def test_domain_is_a_list_of_hosts(value: str, names: set[str]) -> None:
    assert set(read_settings({"DOMAIN": value}).domain) == names


def test_workers_auto_is_one_per_core() -> None:
    assert read_settings({"WORKERS": "auto"}).workers == len(os.sched_getaffinity(0))


def test_origins_are_a_list() -> None:
    settings = read_settings({"ORIGINS": "https://Example.com:443, http://localhost:3000,https://[::1]:8443"})
    assert settings.origins == {"https://example.com", "http://localhost:3000", "https://[::1]:8443"}


@pytest.mark.parametrize(("value", "size"), [("1", 1), ("64K", 65536), ("1M", 1048576), ("1024M", 1 << 30)])
def test_sizes_have_units(value: str, size: int) -> None:
    assert read_settings({"MAX_MESSAGE": value}).max_message == size


@pytest.mark.parametrize(("name", "limit"), [("PING_INTERVAL", 20), ("SLOW_READER_TIMEOUT", 30)])
def test_the_timeouts_are_shorter_than_those_of_the_proxies(name: str, limit: int) -> None:
    read_settings({name: str(limit)})
    with pytest.raises(SettingError, match=f"Give at most {limit} seconds"):
        read_settings({name: str(limit + 1)})


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("MAX_CONNECTIONS_PER_ADDRESS", "Give a whole number from 1, or off"),
        ("BYTE_RATE", "for example 65536, 64K or 1M, or off"),
    ],
)
def test_the_error_mentions_off_if_the_setting_can_be_off(name: str, remedy: str) -> None:
    with pytest.raises(SettingError, match=remedy):
        read_settings({name: "none"})


def test_tls_dir_is_a_path() -> None:
    assert read_settings({"TLS_DIR": "/tls/current"}).tls_dir == Path("/tls/current")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("APP", "apps.ok"),
        ("APP", "apps/ok.py:handler"),
        ("APP", "apps.ok:handler()"),
        ("DOMAIN", ","),
        ("DOMAIN", "https://example.com"),
        ("DOMAIN", "example.com:443"),
        ("DOMAIN", "example.com/wss"),
        *(
            ("DOMAIN", wildcard)
            for wildcard in (
                "*",
                "*.a_b.example",
                "*.",
                "*.com",
                "*example.com",
                "a.*.example.com",
                "*.*.example.com",
                "*.[::1]",
            )
        ),
        *(("DOMAIN", injected) for injected in ("[fe80::1%eth0]", "[::1%;}]", "\u212a.example", "a\u00b2.example")),
        ("DOMAIN", "café.example"),
        ("DOMAIN", "-a.example"),
        ("DOMAIN", "a..example"),
        ("DOMAIN", "2001:db8::1"),
        ("DOMAIN", "[2001:db8:0::1]"),
        ("DOMAIN", "256.1.1.1"),
        ("DOMAIN", f"{'a' * 64}.example"),
        ("DOMAIN", "a.example; evil"),
        ("ORIGINS", "example.com"),
        ("ORIGINS", "https://example.com/"),
        ("ORIGINS", "wss://example.com"),
        ("ORIGINS", "https://*"),
        ("ORIGINS", "https://a.*.example.com"),
        ("ORIGINS", "https://user@example.com"),
        ("ORIGINS", "https://[::1"),
        ("ORIGINS", "null"),
        ("ORIGINS", "https://example.com:99999"),
        ("SUBPROTOCOLS", "a b"),
        ("COMPRESSION", "maybe"),
        ("WS_PATHS", "wss"),
        ("WS_PATHS", "/wss?x"),
        ("WS_PATHS", "/a*b"),
        ("WS_PATHS", "/a b"),
        ("WS_PATHS", "/a,\u00a0/b"),
        ("WS_PATHS", "/a\n/b"),
        ("WS_PATHS", "/%77ss"),
        ("WS_PATHS", "/ws/../*"),
        ("WS_PATHS", "/."),
        ("WS_PATHS", "/wss,/healthz"),
        ("WS_PATHS", "/" + "a" * 1000),
        ("TRUSTED_PROXIES", "proxy"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("MAX_MESSAGE", "0"),
        ("MAX_MESSAGE", "1G"),
        ("MAX_MESSAGE", "9999M"),
        ("MAX_FRAGMENTS", "0"),
        ("MAX_CONNECTIONS", "-1"),
        ("HANDSHAKE_TIMEOUT", "0"),
        ("PING_INTERVAL", "never"),
        ("TLS_POLICY", "old"),
        ("HSTS", "2"),
        ("MAX_HEADER", "17K"),
        ("MAX_CONNECTIONS_PER_ADDRESS", "0"),
        ("MESSAGE_RATE", "0"),
        ("BYTE_RATE", "0"),
        ("BYTE_RATE", "1G"),
        ("PING_TIMEOUT", "1e3"),
        ("SLOW_READER_TIMEOUT", "0"),
        ("STOP_SPREAD", "6"),
        ("WORKERS", "0"),
        ("WORKERS", "-1"),
        ("WORKERS", "513"),
        ("WORKERS", "two"),
        ("WORKERS", "²"),
        ("PORT", "65536"),
        ("PORT", "http"),
    ],
)
def test_an_invalid_value_is_an_error_with_a_remedy(name: str, value: str) -> None:
    with pytest.raises(SettingError) as error:
        read_settings({name: value})
    assert str(error.value).startswith(f"{name}={value!r}: ")
    assert "Give " in str(error.value)
