"""The doctor with a misconfigured Apache: each test has its configuration."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from diagnosis import problem_of
from fixtures import NewStack
from misconfigured_proxy import NAME, MisconfiguredProxy, silent_backend
from stack import Stack

pytestmark = pytest.mark.profiles("apache")

APACHE = ["apache2", "-D", "FOREGROUND", "-f", "/server.conf"]
SSL_OF_APACHE = "SSLEngine on\nSSLCertificateFile /certs/server.pem\nSSLCertificateKeyFile /certs/server.key"
MODULES = ("mpm_event", "authz_core", "socache_shmcb", "ssl", "proxy", "proxy_http", "alias")


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


def _apache(*lines: str, tls: str = SSL_OF_APACHE, modules: tuple[str, ...] = MODULES) -> str:
    loaded = (f"LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so" for module in modules)
    process = ("ServerName wss.example", "DefaultRuntimeDir /run", "PidFile /run/faulty.pid", "ErrorLog /dev/stderr")
    return "\n".join([*loaded, *process, "Listen 443", "ProxyPreserveHost On", tls, *lines, ""])


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
def test_a_faulty_directive_is_named(proxy: MisconfiguredProxy, code: str, line: str) -> None:
    findings = proxy.examine(_apache(line), APACHE)
    assert problem_of(findings) == code, findings


@pytest.mark.parametrize(
    ("code", "tls"),
    [
        ("tls-plain-http", ""),
        ("client-certificate", f"{SSL_OF_APACHE}\nSSLVerifyClient require\nSSLCACertificateFile /certs/server.pem"),
    ],
)
def test_faulty_tls_is_named(proxy: MisconfiguredProxy, code: str, tls: str) -> None:
    findings = proxy.examine(_apache(tls=tls), APACHE)
    assert problem_of(findings) == code, findings


def test_a_missing_module_is_a_500(proxy: MisconfiguredProxy) -> None:
    without = tuple(module for module in MODULES if module != "proxy_http")
    findings = proxy.examine(_apache("ProxyPass /wss ws://backend:8282/wss", modules=without), APACHE)
    assert problem_of(findings) == "upgrade-500", findings


def test_a_backend_that_hangs_is_a_502(proxy: MisconfiguredProxy) -> None:
    with silent_backend() as port:
        line = f"ProxyPass /wss http://{proxy.host}:{port}/wss upgrade=websocket timeout=1"
        # nginx returns 504.
        assert problem_of(proxy.examine(_apache(line), APACHE)) == "upgrade-502"


def test_proxypass_to_ws_without_upgrade_still_works(proxy: MisconfiguredProxy) -> None:
    lines = (
        "SSLProxyEngine on",
        "ProxyRequests Off",
        "ProxyPass /wss ws://backend:8282/wss",
        "ProxyPassReverse /wss ws://backend:8282/wss",
        "SSLProtocol all -SSLv2 -SSLv3",
        "SSLCipherSuite HIGH:!RC4:!MD5:!aNULL:!eNULL:!NULL:!DH:!EDH:!EXP:+MEDIUM",
        "SSLHonorCipherOrder on",
    )
    findings = proxy.examine(_apache(*lines, modules=(*MODULES, "proxy_wstunnel")), APACHE, messages=True)
    assert problem_of(findings) == ""
