"""The doctor before nginx and Apache that are misconfigured: the configuration is the arrangement."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from diagnosis import examine, problem_of, warnings_of
from eventually import LIMIT, eventually
from fixtures import NewStack
from stack import Stack
from websockets.sync.server import ServerConnection, serve

from doctor.finding import Finding

NAME = "wss.example"


class Faulty:
    """Starts a server with a configuration of the test's, on the networks of the shared stack; returns the findings."""

    def __init__(self, stack: Stack, certs: Path, ca_file: Path, directory: Path) -> None:
        self._stack = stack
        self._certs = certs
        self._ca_file = ca_file
        self._directory = directory
        self._started = ExitStack()

    def __enter__(self) -> "Faulty":
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    @property
    def host(self) -> str:
        """This machine's address, as the containers see it."""
        return self._stack.gateway

    def examine(self, configuration: str, command: list[str], *, starts: bool = True, **options: Any) -> list[Finding]:
        file = self._directory / "server.conf"
        file.write_text(configuration)
        container = self._stack.start_beside(
            self._stack.image(self._stack.profile),
            {"/server.conf": file, "/certs": self._certs},
            inner=True,
            command=command,
            user="0:0",
        )
        self._started.callback(container.remove, force=True, v=True)
        if starts:
            address = container.attrs["NetworkSettings"]["Networks"][f"{self._stack.project}_edge"]["IPAddress"]

            def listens() -> bool:
                with socket.create_connection((address, 443), timeout=1):
                    return True

            try:
                eventually(listens, "it listens")
            except AssertionError as error:
                raise AssertionError(container.logs().decode()) from error
        else:
            # It has ended. The backend is a machine of which nothing listens on 443.
            assert container.wait(timeout=LIMIT)["StatusCode"] != 0
            networks = self._stack.container("backend").attrs["NetworkSettings"]["Networks"]
            address = networks[f"{self._stack.project}_inner"]["IPAddress"]
        return examine(f"wss://{NAME}/wss", timeout=LIMIT, resolve=((NAME, 443, address),), ca=self._ca_file, **options)


@pytest.fixture(scope="module")
def stack(profile: str, new_shared_stack: NewStack) -> Stack:
    """For its networks, and its backend, which knows two names."""
    stack = new_shared_stack(profile, DOMAIN=f"{NAME},localhost")
    stack.up()
    return stack


@pytest.fixture
def faulty(stack: Stack, certs: Path, ca_file: Path, tmp_path: Path) -> Iterator[Faulty]:
    with Faulty(stack, certs, ca_file, tmp_path) as faulty:
        yield faulty


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A backend on this machine that accepts and never answers."""
    with socket.create_server(("0.0.0.0", 0)) as listener:  # noqa: S104  # the containers come by the bridge
        held: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    held.append(listener.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        for connection in held:
            connection.close()


NGINX = ["nginx", "-c", "/server.conf", "-g", "daemon off; pid /run/faulty.pid;"]
TLS_OF_NGINX = "listen 443 ssl; ssl_certificate /certs/server.pem; ssl_certificate_key /certs/server.key;"
UPGRADE = (
    "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
    " proxy_set_header Host $host;"
)


def _nginx(location: str, server: str = TLS_OF_NGINX) -> str:
    return f"events {{}} http {{ access_log off; error_log stderr; server {{ {server} {location} }} }}"


@pytest.mark.profiles("nginx")
@pytest.mark.parametrize(
    ("code", "location"),
    [
        # Without the headers, nginx asks with HTTP/1.0, and `Connection: close`.
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
def test_a_location_of_nginx(faulty: Faulty, code: str, location: str) -> None:
    findings = faulty.examine(_nginx(location), NGINX)
    assert problem_of(findings) == code, findings


@pytest.mark.profiles("nginx")
@pytest.mark.parametrize(
    ("code", "server"),
    [
        ("tls-plain-http", "listen 443;"),
        ("tls-name", "listen 443 ssl; ssl_reject_handshake on;"),
        ("client-certificate", f"{TLS_OF_NGINX} ssl_verify_client on; ssl_client_certificate /certs/server.pem;"),
    ],
)
def test_a_server_of_nginx(faulty: Faulty, code: str, server: str) -> None:
    findings = faulty.examine(_nginx("", server), NGINX)
    assert problem_of(findings) == code, findings


@pytest.mark.profiles("nginx")
def test_a_backend_of_nginx_that_hangs(faulty: Faulty, silent_port: int) -> None:
    location = f"location / {{ proxy_pass http://{faulty.host}:{silent_port}; {UPGRADE} proxy_read_timeout 1s; }}"
    assert problem_of(faulty.examine(_nginx(location), NGINX)) == "upgrade-504"


@pytest.mark.profiles("nginx")
def test_nginx_cuts_what_is_idle_after_a_minute(faulty: Faulty) -> None:
    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    # A backend that does not ping, and the proxy's default.
    with serve(echo, "0.0.0.0", 0, ping_interval=None) as server:  # noqa: S104  # the container comes by the bridge
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.socket.getsockname()[1]
        location = f"location / {{ proxy_pass http://{faulty.host}:{port}; {UPGRADE} }}"
        findings = faulty.examine(_nginx(location), NGINX, idle=90)
        server.shutdown()
    assert problem_of(findings) == "idle-cut"
    assert findings[-1].saw.startswith("cut after 60 s")
    assert "proxy_read_timeout" in findings[-1].means


@pytest.mark.profiles("nginx")
def test_the_seeds_nginx_does_not_start_any_more(faulty: Faulty) -> None:
    # `ssl on` is gone since nginx 1.25.1: the server ends, and nothing listens.
    findings = faulty.examine(_nginx("", f"{TLS_OF_NGINX.replace(' ssl;', ';')} ssl on;"), NGINX, starts=False)
    assert problem_of(findings) == "tcp-refused"


@pytest.mark.profiles("nginx")
def test_the_seeds_versions_are_obsolete(faulty: Faulty) -> None:
    server = (
        f"{TLS_OF_NGINX} ssl_protocols SSLv3 TLSv1 TLSv1.1 TLSv1.2;"
        " ssl_ciphers ALL:!ADH:!EXPORT56:RC4+RSA:+HIGH:+MEDIUM:+LOW:+SSLv2:+EXP:@SECLEVEL=0;"
    )
    findings = faulty.examine(_nginx(f"location /wss {{ proxy_pass http://backend:8282; {UPGRADE} }}", server), NGINX)
    assert problem_of(findings) == ""
    assert {"tls-obsolete", "tls-no-1.3"} <= warnings_of(findings)


APACHE = ["apache2", "-D", "FOREGROUND", "-f", "/server.conf"]
SSL_OF_APACHE = "SSLEngine on\nSSLCertificateFile /certs/server.pem\nSSLCertificateKeyFile /certs/server.key"
MODULES = ("mpm_event", "authz_core", "socache_shmcb", "ssl", "proxy", "proxy_http", "alias")


def _apache(*lines: str, tls: str = SSL_OF_APACHE, modules: tuple[str, ...] = MODULES) -> str:
    loaded = (f"LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so" for module in modules)
    process = ("ServerName wss.example", "DefaultRuntimeDir /run", "PidFile /run/faulty.pid", "ErrorLog /dev/stderr")
    return "\n".join([*loaded, *process, "Listen 443", "ProxyPreserveHost On", tls, *lines, ""])


@pytest.mark.profiles("apache")
@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("upgrade-426", "ProxyPass /wss http://backend:8282/wss"),
        ("upgrade-404", "ProxyPass /ws http://backend:8282/wss upgrade=websocket"),
        ("upgrade-404", "ProxyPass /wss http://backend:8282/other upgrade=websocket"),
        ("upgrade-301", "Redirect permanent / https://www.wss.example/"),
        ("upgrade-503", "ProxyPass /wss http://127.0.0.1:1/wss upgrade=websocket"),
    ],
)
def test_a_line_of_apache(faulty: Faulty, code: str, line: str) -> None:
    findings = faulty.examine(_apache(line), APACHE)
    assert problem_of(findings) == code, findings


@pytest.mark.profiles("apache")
@pytest.mark.parametrize(
    ("code", "tls"),
    [
        ("tls-plain-http", ""),
        ("client-certificate", f"{SSL_OF_APACHE}\nSSLVerifyClient require\nSSLCACertificateFile /certs/server.pem"),
    ],
)
def test_tls_of_apache(faulty: Faulty, code: str, tls: str) -> None:
    findings = faulty.examine(_apache(tls=tls), APACHE)
    assert problem_of(findings) == code, findings


@pytest.mark.profiles("apache")
def test_apache_without_the_module(faulty: Faulty) -> None:
    without = tuple(module for module in MODULES if module != "proxy_http")
    findings = faulty.examine(_apache("ProxyPass /wss ws://backend:8282/wss", modules=without), APACHE)
    assert problem_of(findings) == "upgrade-500", findings


@pytest.mark.profiles("apache")
def test_a_backend_of_apache_that_hangs(faulty: Faulty, silent_port: int) -> None:
    line = f"ProxyPass /wss http://{faulty.host}:{silent_port}/wss upgrade=websocket timeout=1"
    # nginx would say 504.
    assert problem_of(faulty.examine(_apache(line), APACHE)) == "upgrade-502"


@pytest.mark.profiles("apache")
def test_the_seeds_apache_still_works(faulty: Faulty) -> None:
    lines = (
        "SSLProxyEngine on",
        "ProxyRequests Off",
        "ProxyPass /wss ws://backend:8282/wss",
        "ProxyPassReverse /wss ws://backend:8282/wss",
        "SSLProtocol all -SSLv2 -SSLv3",
        "SSLCipherSuite HIGH:!RC4:!MD5:!aNULL:!eNULL:!NULL:!DH:!EDH:!EXP:+MEDIUM",
        "SSLHonorCipherOrder on",
    )
    findings = faulty.examine(_apache(*lines, modules=(*MODULES, "proxy_wstunnel")), APACHE)
    assert problem_of(findings) == ""
