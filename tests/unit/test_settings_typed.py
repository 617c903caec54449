"""What people type into a setting: each mistake gets one line with the cause and the remedy."""

import pytest
from wss.config.environment import SettingError
from wss.config.proxy import check_with_backend, read_upstream_settings
from wss.config.settings import read_settings

SWITCHES = ("COMPRESSION", "HSTS", "RELOAD")

MISTAKES = [
    # Quotes and spaces.
    ("DOMAIN", '"example.com"', "the quotes are part of the value. Give it without them"),
    ("DOMAIN", "'example.com'", "the quotes are part of the value"),
    ("ORIGINS", "“https://example.com”", "the quotes are part of the value"),
    ("WORKERS", "'2'", "the quotes are part of the value"),
    ("DOMAIN", "example.com www.example.com", "separated by commas"),
    ("DOMAIN", "example.com;www.example.com", "separated by commas"),
    ("DOMAIN", "\u00a0example.com", r"'\\xa0example.com' is not a host name"),
    # More than a name.
    ("DOMAIN", "example.com:443", "without scheme, port"),
    ("DOMAIN", "https://example.com", "without scheme, port"),
    ("DOMAIN", "wss://example.com/wss", "without scheme, port"),
    ("DOMAIN", "example.com/", "without scheme, port"),
    ("DOMAIN", "example.com.", "is not a host name"),
    ("DOMAIN", "user@example.com", "is not a host name"),
    ("DOMAIN", "certs/live/server.crt", "is not a host name"),
    ("DOMAIN", "2001:db8::1", "IPv6 addresses .* in brackets"),
    ("DOMAIN", "bücher.example", "in their xn-- form"),
    ("DOMAIN", "localhost,,https://a.example", "'https://a.example' is not a host name"),
    # Origins.
    ("ORIGINS", "example.com", "Give scheme://host"),
    ("ORIGINS", "https://example.com/", "without a path"),
    ("ORIGINS", "wss://example.com", "'wss://example.com' is not an origin"),
    ("ORIGINS", "*", "is not an origin"),
    ("ORIGINS", "null", "is the origin of every local file and every sandboxed frame"),
    ("ORIGINS", "file://", "Give the pages of your app an origin, such as https://localhost"),
    ("ORIGINS", "file:///index.html", "Give the pages of your app an origin"),
    ("ORIGINS", "capacitor://", "of an app, for example capacitor://localhost"),
    ("ORIGINS", "chrome-extension://*", "is not an origin"),
    ("ORIGINS", "app://*.example.com", "is not an origin"),
    ("ORIGINS", "https://*.192.0.2.1", "is not an origin"),
    ("ORIGINS", "https://a.example https://b.example", "separated by commas"),
    # Switches and words.
    *((name, value, "Give one of them") for name in SWITCHES for value in ("enabled", "y", "ja", "2", "on off")),
    ("MAX_CONNECTIONS_PER_ADDRESS", "0", "Give a whole number from 1, or off"),
    ("TLS_POLICY", "old", "Give intermediate"),
    ("TLS_POLICY", "TLSv1.2", "Give intermediate"),
    ("LOG_LEVEL", "verbose", "Give debug, info, warning, error"),
    ("LOG_FORMAT", "plain", "Give json, text, or auto"),
    # Numbers and units.
    ("MAX_MESSAGE", "1 M", "64K or 1M"),
    ("MAX_MESSAGE", "1MB", "64K or 1M"),
    ("MAX_MESSAGE", "1e6", "64K or 1M"),
    ("MAX_MESSAGE", "1_000", "64K or 1M"),
    ("MAX_MESSAGE", "9" * 5000, "64K or 1M"),
    ("PING_INTERVAL", "20s", "for example 20"),
    ("PING_INTERVAL", "20,5", "for example 20"),
    ("IDLE_TIMEOUT", "1h", "10 to 86400 seconds"),
    ("WORKERS", "2.0", "1 to 512, or auto"),
    ("WORKERS", "9" * 5000, "1 to 512, or auto"),
    ("PORT", "9" * 5000, "Give 0 to 65535"),
    ("DIRECT_PORT", "8282:8282", "Give 0 to 65535, or an address and a port"),
    ("DIRECT_PORT", "8282-8290", "Give 0 to 65535, or an address and a port"),
    # Paths and handlers.
    ("WS_PATHS", "wss", "as they stand in the URL"),
    ("WS_PATHS", "/wss;/ws", None),
    ("WS_PATHS", "wss://example.com/wss", "as they stand in the URL"),
    ("WS_PATHS", "/ws/{room}", "a \\* at the end"),
    ("WS_PATHS", "/wss?token=*", "as they stand in the URL"),
    ("APP", "handlers.shout", "for example APP=handlers.shout:handler"),
    ("APP", "handlers/shout.py", "for example APP=handlers.shout:handler"),
    ("APP", "handlers/shout.py:main", "for example APP=handlers.shout:main"),
    ("APP", "handlers.shout:main()", "for example APP=handlers.shout:main"),
    ("APP", "shout.py", "for example APP=shout:handler"),
    ("APP", "my-handlers.shout:main", "for example APP=apps.echo:handler"),
    ("APP", "handlers..shout:main", "for example APP=apps.echo:handler"),
    ("SUBPROTOCOLS", "mqtt chat", "separated by commas"),
]


@pytest.mark.parametrize(("name", "value", "remedy"), MISTAKES)
def test_a_mistake_gets_its_cause_and_its_remedy(name: str, value: str, remedy: str | None) -> None:
    if remedy is None:  # not a mistake: ";" may be part of a path
        read_settings({name: value})
        return
    with pytest.raises(SettingError, match=remedy) as refused:
        read_settings({name: value})
    assert str(refused.value).startswith(f"{name}={value!r}: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("value", ['"s3cr3t"', "a s3cr3t", "s3cr3t\u00e9", "s3cr3t\n2"])
def test_a_wrong_push_token_is_not_shown(value: str) -> None:
    with pytest.raises(SettingError, match=r"^PUSH_TOKEN=…: .*Give ") as refused:
        read_settings({"PUSH_TOKEN": value})
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize(("words", "is_on"), [("on true yes 1", True), ("off false no 0", False)])
def test_a_switch_has_the_usual_words_in_any_case(name: str, words: str, is_on: bool) -> None:
    for word in (*words.split(), *words.upper().split(), *words.title().split(), f" {words.split()[0]}\r\n"):
        assert getattr(read_settings({name: word}), name.lower()) is is_on


def test_words_have_any_case() -> None:
    settings = read_settings(
        {"TLS_POLICY": "Modern", "LOG_FORMAT": "JSON", "LOG_LEVEL": "Debug", "MAX_CONNECTIONS_PER_ADDRESS": "No"}
    )
    assert (settings.tls_modern, settings.log_format, settings.log_level) == (True, "json", 10)
    assert settings.max_connections_per_address is None
    assert read_settings({"WORKERS": "AUTO"}).workers >= 1


@pytest.mark.parametrize("value", ["8443-8450", "https", "443:443", "example.com:443", "::1:443", "-1", "65536"])
def test_a_published_port_is_one_port(value: str) -> None:
    with pytest.raises(SettingError, match="Give 0 to 65535, or an address and a port"):
        check_with_backend({"HTTPS_PORT": value})


@pytest.mark.parametrize("value", ["443", "127.0.0.1:8443", "0.0.0.0:0", "[::1]:8443"])
def test_a_published_port_may_have_an_address(value: str) -> None:
    check_with_backend({"HTTPS_PORT": value})


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        ("http://app:9000", "without scheme and path"),
        ("https://app:9000", "Give host:port of a port that speaks plain HTTP"),
        ("app", "for example app:9000"),
        ("app:http", "for example app:9000"),
        ("app:9000/", "without scheme and path"),
        ("localhost:9000", "or host.docker.internal:9000"),
        ('"app:9000"', "the quotes are part of the value"),
    ],
)
def test_a_mistake_in_upstream_gets_its_remedy(value: str, remedy: str) -> None:
    with pytest.raises(SettingError, match=remedy):
        read_upstream_settings({"UPSTREAM": value})
