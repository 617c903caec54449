"""What nginx/render and apache/render fill in: defaults, name servers, the name of the backend."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from server import REPOSITORY
from wss.config.environment import SettingError
from wss.config.proxy import check_with_backend

DOCKER = "nameserver 127.0.0.11\noptions ndots:0\n"
KUBERNETES = "search wss.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"


def render(proxy: str, directory: Path, resolv_conf: str = DOCKER, **settings: str) -> subprocess.CompletedProcess[str]:
    (directory / "resolv.conf").write_text(resolv_conf)
    template = [str(REPOSITORY / "nginx" / "nginx.conf")] if proxy == "nginx" else []
    return subprocess.run(
        [str(REPOSITORY / proxy / "render"), *template],
        env={
            "PATH": f"{REPOSITORY / 'proxy'}:{os.environ['PATH']}",
            "RESOLV_CONF": str(directory / "resolv.conf"),
            "TLS_DIR": str(directory),
            **settings,
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("resolv_conf", "resolvers"),
    [
        (DOCKER, "127.0.0.11"),
        (KUBERNETES, "10.96.0.10"),
        ("nameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n", "10.0.0.2 10.0.0.3 10.0.0.4"),
        ("nameserver fd00::a\n", "[fd00::a]"),
        ("nameserver fd00::a\nnameserver 10.96.0.10\n", "[fd00::a] 10.96.0.10"),
        # Another separator, a comment behind it, a line that is none, no end of line.
        (
            "#nameserver 10.0.0.1\n; nameserver 10.0.0.1\nnameserver\t10.0.0.2 # ours\nnameserver 10.0.0.3",
            "10.0.0.2 10.0.0.3",
        ),
        # nginx knows no zones.
        ("nameserver fe80::1%eth0\nnameserver 10.0.0.2\n", "10.0.0.2"),
    ],
)
def test_nginx_asks_the_name_servers_of_the_system(tmp_path: Path, resolv_conf: str, resolvers: str) -> None:
    done = render("nginx", tmp_path, resolv_conf)
    assert f"\n    resolver {resolvers} valid=1s ipv6=off;\n" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("resolv_conf", ["", "search example.com\n", "nameserver\n", "nameserver fe80::1%eth0\n"])
def test_without_a_name_server_nginx_does_not_start(tmp_path: Path, resolv_conf: str) -> None:
    done = render("nginx", tmp_path, resolv_conf)
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: \S+/resolv.conf has no nameserver, .* Add a line 'nameserver ADDRESS', .*\n", done.stderr
    )
    assert done.stdout == ""


def test_apache_needs_no_name_server_of_its_own(tmp_path: Path) -> None:
    assert render("apache", tmp_path, "").returncode == 0


@pytest.mark.parametrize(
    ("settings", "backend"),
    [
        ({}, "backend:8282"),
        ({"BACKEND": ""}, "backend:8282"),
        ({"BACKEND": " backend.wss.svc.cluster.local\n"}, "backend.wss.svc.cluster.local:8282"),
        ({"BACKEND": "unused", "UPSTREAM": "app:9000"}, "app:9000"),
    ],
)
def test_the_name_of_the_backend_is_a_setting(tmp_path: Path, settings: dict[str, str], backend: str) -> None:
    assert f"set $backend {backend};" in render("nginx", tmp_path, **settings).stdout
    rendered = render("apache", tmp_path, **settings).stdout
    assert f"\nDefine BACKEND {backend}\n" in rendered
    assert f'\nDefine REPLICAS "{backend}' in rendered


@pytest.mark.parametrize("settings", [{}, {"DOMAIN": " , ", "HTTPS_PORT": ""}])
def test_every_setting_of_a_proxy_has_a_default(tmp_path: Path, settings: dict[str, str]) -> None:
    nginx, apache = (render(proxy, tmp_path, **settings) for proxy in ("nginx", "apache"))
    assert "return 308 https://$host$request_uri;" in nginx.stdout
    assert '"localhost localhost" "";' in nginx.stdout
    assert "\nDefine HTTPS_ORIGIN https://%{SERVER_NAME}\n" in apache.stdout
    assert '\nDefine SERVER_NAMES "localhost"\n' in apache.stdout
    assert (nginx.stderr, apache.stderr) == ("", "")


@pytest.mark.parametrize("value", ["backend", "backend.wss.svc.cluster.local", "192.0.2.7", "tasks.backend"])
def test_a_backend_is_a_host_name(value: str) -> None:
    check_with_backend({"BACKEND": value})


@pytest.mark.parametrize(
    "value", ["backend:8282", "http://backend", "a b", "a;b", "a/b", "$(id)", "[::1]", "-a", "1.2", "é"]
)
def test_anything_else_is_not_a_backend(value: str) -> None:
    with pytest.raises(SettingError, match=r"^BACKEND=.*not a host name\. Give one"):
        check_with_backend({"BACKEND": value})
