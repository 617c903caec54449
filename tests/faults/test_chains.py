"""Chains of certificates, judged by the certificate service, the doctor, and six clients.

The certificate service accepts what all clients accept, and refuses what none accepts, or no browser. If only some
other clients refuse a chain, it warns.
"""

import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import docker
import pytest
from browser import CLIENTS_IMAGE, WHOLE_CHROMIUM, connect_to_chromium
from certificates import CertificateError
from certificates.check import check_pair
from certificates.publish import stage
from certificates.source import Source
from chains import Chain, all_chains
from diagnosis import examine, problem_of, warnings_of
from docker.models.containers import Container
from eventually import LIMIT, eventually
from playwright.sync_api import Playwright
from run import Run

from doctor.finding import Finding

pytestmark = pytest.mark.long

PORT = 4433
# OpenSSL refuses to load them, so that no server here can serve them.
NOT_SERVED = {"intermediate-rsa-1024"}
CHAINS = all_chains()
Verdicts = dict[str, dict[str, str]]
# In a page of the same server: a public page would need a permission to connect to a loopback address.
FETCH = """targets => Promise.all(targets.map(([name, url]) =>
    fetch(url, {mode: "no-cors"}).then(() => [name, ""], error => [name, String(error)]))).then(Object.fromEntries)"""


def _certs(name: str, chain: Chain, directory: Path) -> tuple[bytes, str, list[str]]:
    """Return the chain that is published, or the file's if it is refused; the reason then; else the warnings."""
    (directory / "server.pem").write_bytes(chain.pem)
    (directory / "server.key").write_bytes(chain.leaf.key_pem)
    (directory / "server.key").chmod(0o644)
    host = f"{name}.localhost"
    with TemporaryDirectory() as other, TemporaryDirectory() as volume:
        root = Path(other) / "ca.pem"
        root.write_bytes(b"".join(one.pem for one in chain.roots))
        try:
            pair = Source(directory, (host,)).find()
            assert pair
            sent = pair.without_root()
            checked = check_pair(pair, [host], stage(sent, Path(volume)), [root])
        except CertificateError as error:
            return chain.pem, str(error), []
        return sent.certificate, "", [note for note in checked.notes if note not in pair.notes]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Verdicts, dict[str, list[str]]]:
    """The directory with what is served, the verdicts of the certificate service, and its warnings."""
    directory = tmp_path_factory.mktemp("chains")
    directory.chmod(0o755)
    verdicts: Verdicts = {}
    warnings = {}
    for name, chain in CHAINS.items():
        (directory / name).mkdir()
        served, error, warnings[name] = _certs(name, chain, directory / name)
        (directory / name / "server.pem").write_bytes(served)
        verdicts[name] = {"certs": error}
    (directory / "roots.pem").write_bytes(b"".join(root.pem for chain in CHAINS.values() for root in chain.roots))
    return directory, verdicts, warnings


@pytest.fixture(scope="module")
def server(
    engine: docker.DockerClient, run: Run, clients: str, judged: tuple[Path, Verdicts, dict[str, list[str]]]
) -> Iterator[Container]:
    """A server with all chains, and clients beside it."""
    assert clients
    container = _start(engine, run, "judge", judged[0], ["judge.py", "serve"])

    def listens() -> bool:
        with socket.create_connection((container.attrs["NetworkSettings"]["IPAddress"], PORT), timeout=LIMIT):
            return True

    try:
        eventually(listens, "the server listens")
        yield container
    finally:
        container.remove(force=True, v=True)


def _start(engine: docker.DockerClient, run: Run, role: str, chains: Path, command: Any, **options: Any) -> Container:
    container = engine.containers.run(
        CLIENTS_IMAGE,
        command,
        detach=True,
        name=f"{run.name}-{role}",
        labels={"com.docker.compose.project": "beside"},
        volumes={
            str(chains): {"bind": "/chains", "mode": "ro"},
            str(chains / "roots.pem"): {"bind": "/ca.pem", "mode": "ro"},
        },
        **options,
    )
    container.reload()
    return container


def _chromium(playwright: Playwright, address: str) -> dict[str, str]:
    browser = connect_to_chromium(playwright, address)
    page = browser.new_context().new_page()
    page.goto(f"https://good.localhost:{PORT}/")
    result: dict[str, str] = page.evaluate(FETCH, [[name, f"https://{name}.localhost:{PORT}/"] for name in CHAINS])
    browser.close()
    return result


def test_certs_and_clients_judge_alike(
    engine: docker.DockerClient,
    run: Run,
    playwright: Playwright,
    server: Container,
    judged: tuple[Path, Verdicts, dict[str, list[str]]],
) -> None:
    directory, verdicts, warnings = judged
    address = server.attrs["NetworkSettings"]["IPAddress"]
    browser = _start(engine, run, "browser", directory, WHOLE_CHROMIUM, network_mode=f"container:{server.id}")
    try:
        done = server.exec_run(["judge.py"])
        assert done.exit_code == 0, done.output
        assert isinstance(done.output, bytes)
        clients: Verdicts = json.loads(done.output)
        for name, error in _chromium(playwright, address).items():
            clients[name]["chromium"] = error
    finally:
        browser.remove(force=True, v=True)

    def doctor(name: str) -> list[Finding]:
        host = f"{name}.localhost"
        resolve = ((host, PORT, address),)
        return examine(f"wss://{host}:{PORT}/", timeout=LIMIT, resolve=resolve, ca=directory / "roots.pem")

    with ThreadPoolExecutor(8) as threads:
        examined = dict(zip(CHAINS, threads.map(doctor, CHAINS), strict=True))

    wrong = []
    for name in CHAINS:
        seen = clients[name]
        refused = [client for client, error in seen.items() if error]
        must_refuse = len(refused) == len(seen) or bool(seen["chromium"]) or name in NOT_SERVED
        own = verdicts[name]["certs"]
        if bool(own) != must_refuse or (not own and bool(warnings[name]) != bool(refused)):
            wrong.append(f"{name}: certs: {own or warnings[name] or 'accepts'}; clients: {seen}")
        findings = examined[name]
        doctor_refuses = problem_of(findings).startswith("certificate")
        doctor_warns = any(code.startswith("certificate") for code in warnings_of(findings))
        # The doctor warns if only browsers refuse.
        if doctor_refuses != (len(refused) == len(seen)) and doctor_refuses != must_refuse:
            wrong.append(f"{name}: doctor: {findings}; clients: {seen}")
        if bool(refused) != (doctor_refuses or doctor_warns):
            wrong.append(f"{name}: doctor: {findings}; clients: {seen}")
    assert wrong == []


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("cross-sign-expired-old-clients", "the intermediate CN=New root of cross-sign-expired-old-clients expired on"),
        ("intermediate-expired", "the intermediate CN=Intermediate of intermediate-expired expired on"),
        ("intermediate-not-yet", "the intermediate CN=Intermediate of intermediate-not-yet is not valid before"),
        ("root-expired", "the root CN=Root of root-expired expired on"),
        ("leaf-expired", "the certificate expired on"),
        ("intermediate-for-clients", "CN=Intermediate of intermediate-for-clients is not for servers"),
        ("for-clients", "CN=for-clients.localhost is not for servers"),
        ("path-too-long", "path length constraint exceeded"),
        ("intermediate-rsa-1024", "CN=Intermediate of intermediate-rsa-1024 has a key of type RSA 1024"),
    ],
)
def test_an_error_names_the_certificate(
    judged: tuple[Path, Verdicts, dict[str, list[str]]], name: str, error: str
) -> None:
    assert error in judged[1][name]["certs"]


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        ("root-without-key-usage", "refuse CN=Root of root-without-key-usage: .*keyUsage.*keyCertSign"),
        ("intermediate-without-key-usage", "refuse CN=Intermediate of .*keyUsage"),
        ("leaf-without-key-ids", "refuse CN=leaf-without-key-ids.localhost: .*authorityKeyIdentifier"),
        ("constraints-not-critical", "refuse CN=Intermediate of .*basicConstraints"),
    ],
)
def test_a_warning_names_certificate_and_extension(
    judged: tuple[Path, Verdicts, dict[str, list[str]]], name: str, warning: str
) -> None:
    (given,) = judged[2][name]
    assert re.search(warning, given)
