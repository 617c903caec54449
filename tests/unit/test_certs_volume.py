"""The files of the certificate volume have the same names in all components that read them."""

import ast
import re
from pathlib import Path

import pytest
from certificates.volume import (
    CERTIFICATE,
    CLIENT_CA,
    CLIENT_CRL,
    CURRENT,
    EXPIRY,
    EXPIRY_VOLUME,
    FAILING,
    KEY,
    REVOKED,
    TLS_VOLUME,
)
from server import BACKEND, REPOSITORY
from wss.net import certificate

FILES = {CERTIFICATE, KEY, CLIENT_CA, CLIENT_CRL}


def _proxy_names(directory: Path) -> set[str]:
    """Return what the configuration and the scripts read from the volume, and all PEM files that they name."""
    volume, current = re.escape(f"{TLS_VOLUME}/"), re.escape(f"/{CURRENT}/")
    path = rf"(?:(?<=\${{PAIR}}/)|(?<=\$pair/)|(?<={volume})|(?<={current}))[\w.-]+|[\w-]+\.(?:pem|key)\b"
    return {name for file in directory.iterdir() if file.is_file() for name in re.findall(path, file.read_text())}


@pytest.mark.parametrize("proxy", ["nginx", "apache"])
def test_a_proxy_reads_the_published_files_and_no_others(proxy: str) -> None:
    names = _proxy_names(REPOSITORY / proxy) | _proxy_names(REPOSITORY / "proxy")
    assert names == FILES | {CURRENT}


@pytest.mark.parametrize("file", ["nginx/nginx.conf", "apache/httpd.conf"])
def test_the_configuration_of_a_proxy_names_all_files(file: str) -> None:
    assert set(re.findall(r"\$\{PAIR\}/([\w.-]+)", (REPOSITORY / file).read_text())) == FILES


def test_the_backend_reads_the_published_files_and_no_others() -> None:
    literals = {
        node.value.removeprefix("/")
        for file in (*(BACKEND / "wss").rglob("*.py"), BACKEND / "healthy")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert {name for name in literals if re.fullmatch(r"[\w-]+\.(pem|key|crl)", name)} == FILES


def test_the_backend_reads_whether_a_renewal_fails_from_the_published_file() -> None:
    assert certificate.FAILING == FAILING


def test_compose_and_swarm_pass_the_paths_of_the_volumes_to_the_backend() -> None:
    for file in ("compose.yaml", "deploy/swarm.yaml"):
        text = (REPOSITORY / file).read_text()
        assert re.findall(r"EXPIRY_FILE: (\S+)", text) == [f"{EXPIRY_VOLUME}/{EXPIRY}"], file
        assert set(re.findall(r"REVOKED_FILE: \S+:\+(\S+)}", text)) <= {f"{EXPIRY_VOLUME}/{REVOKED}"}, file
        for volume in (TLS_VOLUME, EXPIRY_VOLUME):
            assert set(re.findall(rf"\b{volume.name}:(/\w+)", text)) == {str(volume)}, file
    assert re.findall(r"TLS_DIR: (\S+)", (REPOSITORY / "compose.yaml").read_text()) == [f"{TLS_VOLUME}/{CURRENT}"]
