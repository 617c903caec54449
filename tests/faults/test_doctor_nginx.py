"""The doctor with a misconfigured nginx: each test has its configuration."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from diagnosis import problem_of, warnings_of
from fixtures import NewStack
from misconfigured_proxy import NAME, MisconfiguredProxy, silent_backend
from stack import Stack
from websockets.sync.server import ServerConnection, serve

pytestmark = [pytest.mark.profiles("nginx"), pytest.mark.long]

NGINX = ["nginx", "-c", "/server.conf", "-g", "daemon off; pid /run/faulty.pid;"]
TLS_OF_NGINX = "listen 443 ssl; ssl_certificate /certs/server.pem; ssl_certificate_key /certs/server.key;"
UPGRADE = (
    "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
    " proxy_set_header Host $host;"
)


@pytest.fixture(scope="module")
def stack(profile: str, new_shared_stack: NewStack) -> Stack:
    """Provides the networks and a backend, which serves two names."""
    stack = new_shared_stack(profile, DOMAIN=f"{NAME},localhost")
    stack.up()
    return stack


@pytest.fixture
def proxy(stack: Stack, certs: Path, ca_file: Path, tmp_path: Path) -> Iterator[MisconfiguredProxy]:
    with MisconfiguredProxy(stack, certs, ca_file, tmp_path) as proxy:
        yield proxy


def _nginx(location: str, server: str = TLS_OF_NGINX) -> str:
    return f"events {{}} http {{ access_log off; error_log stderr; server {{ {server} {location} }} }}"


@pytest.mark.parametrize(
    ("code", "location"),
    [
        # By default nginx sends HTTP/1.0 and `Connection: close`.
        ("upgrade-426", "location /wss { proxy_pass http://backend:8282; }"),
        ("upgrade-404", f"location /ws/ {{ proxy_pass http://backend:8282; {UPGRADE} }}"),
        ("upgrade-404", f"location /wss {{ proxy_pass http://backend:8282/other; {UPGRADE} }}"),
        ("upgrade-200", 'location / { return 200 "hello"; }'),
        ("upgrade-301", "location / { return 301 https://www.wss.example$request_uri; }"),
        ("upgrade-403", "location / { deny all; }"),
        ("upgrade-421", f"location / {{ proxy_pass http://backend:8282; {UPGRADE.replace('$host', 'backend')} }}"),
        ("upgrade-502", f"location / {{ proxy_pass http://127.0.0.1:1; {UPGRADE} }}"),
        ("upgrade-502", f"location / {{ proxy_pass https://backend:8282; {UPGRADE} }}"),
        ("upgrade-503", "location / { return 503; }"),
    ],
)
def test_a_faulty_location_is_named(proxy: MisconfiguredProxy, code: str, location: str) -> None:
    findings = proxy.examine(_nginx(location), NGINX)
    assert problem_of(findings) == code, findings


@pytest.mark.parametrize(
    ("code", "server"),
    [
        ("tls-plain-http", "listen 443;"),
        ("tls-name", "listen 443 ssl; ssl_reject_handshake on;"),
        ("client-certificate", f"{TLS_OF_NGINX} ssl_verify_client on; ssl_client_certificate /certs/server.pem;"),
    ],
)
def test_a_faulty_server_block_is_named(proxy: MisconfiguredProxy, code: str, server: str) -> None:
    findings = proxy.examine(_nginx("", server), NGINX)
    assert problem_of(findings) == code, findings


def test_a_backend_that_hangs_is_a_504(proxy: MisconfiguredProxy) -> None:
    with silent_backend() as port:
        location = f"location / {{ proxy_pass http://{proxy.host}:{port}; {UPGRADE} proxy_read_timeout 1s; }}"
        assert problem_of(proxy.examine(_nginx(location), NGINX)) == "upgrade-504"


def test_nginx_closes_an_idle_connection_after_60_s(proxy: MisconfiguredProxy) -> None:
    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    # The backend does not ping, and proxy_read_timeout has its default.
    with serve(echo, "0.0.0.0", 0, ping_interval=None) as server:  # noqa: S104  # the container connects over the bridge
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.socket.getsockname()[1]
        location = f"location / {{ proxy_pass http://{proxy.host}:{port}; {UPGRADE} }}"
        findings = proxy.examine(_nginx(location), NGINX, idle=90)
        server.shutdown()
    assert problem_of(findings) == "idle-cut"
    assert findings[-1].saw.startswith("connection lost after 60 s")
    assert "proxy_read_timeout" in findings[-1].means


def test_nginx_with_ssl_on_does_not_start(proxy: MisconfiguredProxy) -> None:
    # nginx 1.25.1 removed `ssl on`: nginx exits, and nothing listens.
    findings = proxy.examine(_nginx("", f"{TLS_OF_NGINX.replace(' ssl;', ';')} ssl on;"), NGINX, starts=False)
    assert problem_of(findings) == "tcp-refused"


def test_obsolete_versions_are_a_warning(proxy: MisconfiguredProxy) -> None:
    server = (
        f"{TLS_OF_NGINX} ssl_protocols SSLv3 TLSv1 TLSv1.1 TLSv1.2;"
        " ssl_ciphers ALL:!ADH:!EXPORT56:RC4+RSA:+HIGH:+MEDIUM:+LOW:+SSLv2:+EXP:@SECLEVEL=0;"
    )
    findings = proxy.examine(_nginx(f"location /wss {{ proxy_pass http://backend:8282; {UPGRADE} }}", server), NGINX)
    assert problem_of(findings) == ""
    assert {"tls-obsolete", "tls-no-1.3"} <= warnings_of(findings)
