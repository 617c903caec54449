"""The settings of the proxies: what is accepted, and the one line that refuses the rest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from server import REPOSITORY
from wss.config.environment import SettingError, settings_of
from wss.config.proxy import ONLY_WITH_UPSTREAM, UpstreamSettings, check_with_backend, read_upstream_settings
from wss.config.settings import Settings, read_settings

UPSTREAM = {"UPSTREAM": "app:9000"}
ENFORCED = {each.name for each in settings_of(UpstreamSettings).values()}
OWN_BACKEND = sorted({each.name for each in settings_of(Settings).values()} - ENFORCED)


@pytest.mark.parametrize(
    "value",
    [
        "app:9000",
        "App:1",
        "under_score:65535",
        "app.internal.example:80",
        "192.0.2.7:8080",
        "host.docker.internal:8282",
    ],
)
def test_an_upstream_is_a_host_and_a_port(value: str) -> None:
    assert read_upstream_settings({"UPSTREAM": value}).upstream == value


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        *((value, "not host:port") for value in ("", "app", ":9000", "app:", "app:0", "app:65536", "app:x", "app:9 0")),
        *(
            (value, "not host:port")
            for value in ("app:9000/path", "http://app:9000", "ws://app:9000", "a b:9", "$(id):1")
        ),
        *(
            (value, "not host:port")
            for value in ("[::1]:9000", "::1:9000", "app:9000,b:9000", "app;b:1", "app:9\n0", "1.2:3")
        ),
        *((value, "out of scope") for value in ("https://app:9000", "wss://app:9000", "HTTPS://app", "wss:app")),
        *((value, "container of the proxy") for value in ("localhost:9000", "127.0.0.1:9000", "LOCALHOST:1")),
    ],
)
def test_anything_else_is_not_an_upstream(value: str, remedy: str) -> None:
    with pytest.raises(SettingError, match=f"(?s)^UPSTREAM=.*{remedy}.*Give"):
        read_upstream_settings({"UPSTREAM": value})


@pytest.mark.parametrize("value", ["/api/*", "/*", "/", "/healthz,/readyz", " /a , /b* ,"])
@pytest.mark.parametrize("name", ["HTTP_PATHS", "WS_PATHS"])
def test_paths_are_exact_or_prefixes(name: str, value: str) -> None:
    settings = read_upstream_settings({**UPSTREAM, name: value})
    paths = settings.http_paths if name == "HTTP_PATHS" else settings.ws_paths
    assert paths == tuple(path.strip() for path in value.split(",") if path.strip())


@pytest.mark.parametrize(
    "value", ["api/*", "/a*b", "/a b", "/a?b", "/a|b", '/"', "/{a}", "/\\d", "/é", "/../a", ",", "/a" * 501]
)
@pytest.mark.parametrize("name", ["HTTP_PATHS", "WS_PATHS"])
def test_other_lists_of_paths_are_refused(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"^{name}=.*Give"):
        read_upstream_settings({**UPSTREAM, name: value})


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("MAX_BODY", ("1", "64K", "1024M"), ("0", "-1", "1G", "1.5M", "1025M", "big")),
        ("IDLE_TIMEOUT", ("10", "3600", "86400"), ("9", "0", "86401", "1.5", "60s", "1h", "-1")),
        ("PROXY_CONNECTIONS", ("1", "10000", "60000"), ("0", "60001", "1e3", "10K", "-1", "many")),
    ],
)
def test_numbers_have_a_range(name: str, good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    paths = {"HTTP_PATHS": "/*"}
    for value in good:
        read_upstream_settings({**UPSTREAM, **paths, name: value})
    for value in bad:
        with pytest.raises(SettingError, match=f"^{name}='{value}': not .*Give"):
            read_upstream_settings({**UPSTREAM, **paths, name: value})


@pytest.mark.parametrize("name", OWN_BACKEND)
def test_a_setting_that_nobody_enforces_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match=f"^{name}: only our own backend has this.*Unset it"):
        read_upstream_settings({**UPSTREAM, name: "1"})
    read_upstream_settings({**UPSTREAM, name: ""})


def test_all_settings_that_nobody_enforces_are_named_in_one_line() -> None:
    with pytest.raises(SettingError, match=r"^APP, MAX_MESSAGE: only"):
        read_upstream_settings({**UPSTREAM, "APP": "apps.ok:handler", "MAX_MESSAGE": "1M"})
    with pytest.raises(SettingError, match=r"^MAX_BODY: .*HTTP_PATHS"):
        read_upstream_settings({**UPSTREAM, "MAX_BODY": "1M"})


@pytest.mark.parametrize("name", ONLY_WITH_UPSTREAM)
def test_settings_of_the_overlay_are_refused_without_it(name: str) -> None:
    with pytest.raises(SettingError, match=f"^{name}: .*COMPOSE_FILE=compose.yaml:upstream.yaml"):
        check_with_backend({name: "x"})


def test_the_limit_of_a_proxy_is_checked_in_front_of_our_backend_too() -> None:
    check_with_backend({"PROXY_CONNECTIONS": "30000"})
    with pytest.raises(SettingError, match=r"^PROXY_CONNECTIONS='many'"):
        check_with_backend({"PROXY_CONNECTIONS": "many"})


def test_pings_of_our_backend_come_before_the_idle_timeout() -> None:
    assert read_settings({"IDLE_TIMEOUT": "300", "PING_INTERVAL": "290"}).idle_timeout == 300
    with pytest.raises(SettingError, match=r"^PING_INTERVAL=291: .*IDLE_TIMEOUT=300\. Give at most 290 seconds"):
        read_settings({"IDLE_TIMEOUT": "300", "PING_INTERVAL": "291"})
    with pytest.raises(SettingError, match=r"^PING_INTERVAL=20: .*IDLE_TIMEOUT=29"):
        read_settings({"IDLE_TIMEOUT": "29", "SLOW_READER_TIMEOUT": "20"})


def _render(proxy: str, directory: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{REPOSITORY / 'proxy'}:{os.environ['PATH']}", "DOMAIN": "localhost", "HTTPS_PORT": "443"}
    template = [str(REPOSITORY / "nginx" / "nginx.conf")] if proxy == "nginx" else []
    limit = settings.pop("limit", "20000")
    return subprocess.run(
        ["bash", "-c", f'ulimit -n {limit} && exec "$0" "$@"', str(REPOSITORY / proxy / "render"), *template],
        env={**environment, "TLS_DIR": str(directory), **settings},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("connections", "limit", "directives"),
    [
        # One process can have all: two per websocket, and 1,000 for pages, if there are so many.
        ("100", "20000", ("worker_connections 1200;", "worker_rlimit_nofile 1200;")),
        ("10000", "20000", ("worker_connections 20000;", "worker_rlimit_nofile 20000;")),
        # Else several share them: 61,000 and an eighth more in processes of 20,000.
        ("30000", "20000", ("worker_processes 4;", "worker_connections 20000;", "accept_mutex on;")),
    ],
)
def test_the_limits_of_nginx_follow_from_proxy_connections(
    tmp_path: Path, connections: str, limit: str, directives: tuple[str, ...]
) -> None:
    rendered = _render("nginx", tmp_path, PROXY_CONNECTIONS=connections, limit=limit)
    assert rendered.returncode == 0, rendered.stderr
    assert [line for line in directives if line not in rendered.stdout] == []
    assert rendered.stdout.count(f"limit_conn websockets {connections};") == 2
    assert ("accept_mutex" in rendered.stdout) == ("accept_mutex on;" in directives)


@pytest.mark.parametrize(
    ("connections", "threads", "limit"), [("1", 1500, 183), ("10000", 11000, 202), ("10001", 11500, 203)]
)
def test_the_limits_of_httpd_follow_from_proxy_connections(
    tmp_path: Path, connections: str, threads: int, limit: int
) -> None:
    rendered = _render("apache", tmp_path, PROXY_CONNECTIONS=connections)
    assert rendered.returncode == 0, rendered.stderr
    lines = rendered.stdout.splitlines()
    assert {f"Define THREADS {threads}", f"Define SERVER_LIMIT {limit}"} <= set(lines)
    assert f"Define PROXY_CONNECTIONS {connections}" in lines


@pytest.mark.parametrize("proxy", ["nginx", "apache"])
def test_a_limit_of_the_machine_refuses_in_words(tmp_path: Path, proxy: str) -> None:
    refused = _render(proxy, tmp_path, PROXY_CONNECTIONS="60000", limit="512")
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert line.startswith("error: PROXY_CONNECTIONS=60000: ")
    assert "default-ulimits in /etc/docker/daemon.json, or lower PROXY_CONNECTIONS" in line


@pytest.mark.parametrize(("proxy", "upstream", "seconds"), [("nginx", "", 30), ("nginx", "app:9000", 3600)])
def test_idle_timeout_depends_on_who_pings(tmp_path: Path, proxy: str, upstream: str, seconds: int) -> None:
    assert f"proxy_read_timeout {seconds}s;" in _render(proxy, tmp_path, UPSTREAM=upstream).stdout
    assert f"Define IDLE_TIMEOUT {seconds}\n" in _render("apache", tmp_path, UPSTREAM=upstream).stdout


def test_the_check_of_the_overlay_needs_nothing_but_the_settings(tmp_path: Path) -> None:
    # As in the image `settings`: no package wss around it, and no dependency installed.
    (tmp_path / "wss").mkdir()
    (tmp_path / "wss" / "config").symlink_to(REPOSITORY / "backend" / "wss" / "config")
    for environment, error in (
        (UPSTREAM, ""),
        ({}, "error: UPSTREAM='': not host:port"),
        ({**UPSTREAM, "WORKERS": "2"}, "error: WORKERS: only our own backend"),
    ):
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _RUN, str(tmp_path)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, bool(done.stderr)) == (1 if error else 0, bool(error))
        assert done.stderr.startswith(error)


_RUN = "import runpy, sys; sys.path.insert(0, sys.argv.pop()); runpy.run_module('wss.config', run_name='__main__')"
