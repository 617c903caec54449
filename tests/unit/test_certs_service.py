"""The certificate service: what it publishes at the start and later, and the health that it reports."""

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from certificates import CertificateError, report, service
from certificates.acme import AcmeClient, Order
from certificates.publish import read_published
from certificates.service import CertificateService
from certificates.settings import Settings
from pairs import write_pair

NOW = datetime.now(UTC)


class Clock:
    """Stands in for time.monotonic."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (service, report):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def certs(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CERTS_DIR; the volumes are beside it."""
    assert clock  # poll does not wait
    monkeypatch.setattr("certificates.publish.READER_UID", os.getuid())
    for name in ("INPUT", "TLS_VOLUME", "EXPIRY_VOLUME"):
        directory = tmp_path / name
        directory.mkdir()
        monkeypatch.setattr(service, name, directory)
    monkeypatch.setattr(report, "HEALTH_FILE", tmp_path / "health")
    monkeypatch.setattr(report, "EXPIRY_VOLUME", tmp_path / "EXPIRY_VOLUME")
    return tmp_path / "INPUT"


def health(certs: Path) -> str:
    return (certs.parent / "health").read_text().strip()


def published(certs: Path) -> bytes:
    pair = read_published(certs.parent / "TLS_VOLUME")
    assert pair
    return pair.certificate


def poll_repeatedly(running: CertificateService, clock: Clock) -> None:
    """Poll for longer than REPORT_DELAY and RETRY_INTERVAL."""
    for _ in range(20):
        running.poll()
        clock.now += 1


@pytest.fixture
def store(certs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where certbot stores the pair that it obtained; certbot itself does not run."""
    monkeypatch.setattr("certificates.acme.CONFIG_DIR", certs.parent / "acme")
    monkeypatch.setattr(AcmeClient, "poll", lambda *_: None)
    live = certs.parent / "acme" / "live" / "wss"
    live.mkdir(parents=True)
    return live


def acme_service(client_ca: str = "") -> CertificateService:
    return CertificateService(
        Settings("acme", "certs/live", ["localhost"], 14, order=Order(["localhost"]), client_ca=client_ca)
    )


@pytest.mark.parametrize("names", [(), ("localhost",), ("other.example",)], ids=["nothing", "expired", "other names"])
def test_a_temporary_pair_is_published_until_the_acme_server_has_issued_one(
    certs: Path, ca: trustme.CA, store: Path, names: tuple[str, ...]
) -> None:
    if names:
        past = NOW - timedelta(days=1) if names == ("localhost",) else NOW + timedelta(days=1)
        write_pair(ca.issue_cert(*names, not_after=past), store)
    running = acme_service()
    running.start()
    temporary = published(certs)
    assert health(certs) == "ok"
    write_pair(ca.issue_cert("localhost"), store)
    running.poll()
    assert published(certs) == (store / "server.pem").read_bytes() != temporary
    assert health(certs) == "ok"


def test_a_stored_pair_is_published_at_once(certs: Path, ca: trustme.CA, store: Path) -> None:
    write_pair(ca.issue_cert("localhost"), store)
    acme_service().start()
    assert published(certs) == (store / "server.pem").read_bytes()


def test_clients_need_a_certificate_even_with_the_temporary_pair(certs: Path, ca: trustme.CA, store: Path) -> None:
    assert store
    ca.cert_pem.write_to_path(certs / "clients.pem")
    acme_service(client_ca="clients.pem").start()
    assert (certs.parent / "TLS_VOLUME" / "current" / "client-ca.pem").read_bytes() == ca.cert_pem.bytes()


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"", "is empty"), (b"\n", "is empty"), (b"-----BEGIN CERTIFICATE-----\nMIIB", "is truncated")],
    ids=["empty", "blank", "truncated"],
)
def test_an_invalid_client_file_never_replaces_a_valid_one(
    certs: Path, ca: trustme.CA, clock: Clock, content: bytes, error: str
) -> None:
    write_pair(ca.issue_cert("localhost"), certs)
    ca.cert_pem.write_to_path(certs / "clients.pem")
    running = CertificateService(Settings("files", "certs/live", ["localhost"], 14, client_ca="clients.pem"))
    running.start()
    (certs / "clients.pem").write_bytes(content)
    running.poll()
    clock.now += report.REPORT_DELAY
    running.poll()
    assert health(certs).startswith(f"CLIENT_CA: clients.pem {error}")
    assert (certs.parent / "TLS_VOLUME" / "current" / "client-ca.pem").read_bytes() == ca.cert_pem.bytes()
    # If only one of the two (server pair, client files) is valid, it is published.
    write_pair(ca.issue_cert("localhost"), certs)
    running.poll()
    assert published(certs) == (certs / "server.pem").read_bytes()
    assert (certs.parent / "TLS_VOLUME" / "current" / "client-ca.pem").read_bytes() == ca.cert_pem.bytes()
    (certs / "server.key").unlink()
    other = trustme.CA()
    other.cert_pem.write_to_path(certs / "clients.pem")
    running.poll()
    assert (certs.parent / "TLS_VOLUME" / "current" / "client-ca.pem").read_bytes() == other.cert_pem.bytes()


def test_names_added_to_domain_do_not_take_the_certificate_from_the_others(
    certs: Path, ca: trustme.CA, store: Path
) -> None:
    write_pair(ca.issue_cert("localhost"), store)
    running = CertificateService(
        Settings("acme", "certs/live", ["new.example", "localhost"], 14, order=Order(["new.example"]))
    )
    running.start()
    assert published(certs) == (store / "server.pem").read_bytes()
    write_pair(ca.issue_cert("localhost", "new.example"), store)
    running.poll()
    assert published(certs) == (store / "server.pem").read_bytes()


def new_service(source: str = "auto", warn_days: int = 14, domain: str = "localhost") -> CertificateService:
    return CertificateService(Settings(source, "certs/live", domain.split(","), warn_days))


def test_an_existing_pair_is_published(certs: Path, ca: trustme.CA) -> None:
    write_pair(ca.issue_cert("localhost", not_after=NOW + timedelta(days=90)), certs)
    new_service("files").start()
    assert published(certs) == (certs / "server.pem").read_bytes()
    assert health(certs) == "ok"
    expiry = float((certs.parent / "EXPIRY_VOLUME" / "expiry").read_text())
    assert abs(expiry - (NOW + timedelta(days=90)).timestamp()) < 2


@pytest.mark.parametrize("source", ["auto", "dev"])
def test_without_a_pair_a_development_pair_is_made(certs: Path, source: str) -> None:
    new_service(source).start()
    assert published(certs) == (certs / "server.pem").read_bytes()
    new_service(source).start()  # and used the next time


LOCAL = "localhost,shop,shop.test,shop.local,a.localhost,shop.internal,shop.example,127.0.0.1,::1,192.168.0.1,fd00::1"


def test_for_local_names_a_development_pair_is_made(certs: Path) -> None:
    new_service(domain=LOCAL).start()
    assert {file.name for file in certs.iterdir()} == {"ca.pem", "server.key", "server.pem"}


@pytest.mark.parametrize(
    "domain", ["example.com", "localhost,www.example.com", "*.example.com", "1.1.1.1", "2606:4700::1"]
)
def test_for_public_names_no_development_pair_is_made(certs: Path, domain: str) -> None:
    public = domain.split(",")[-1]
    with pytest.raises(CertificateError) as error:
        new_service(domain=domain).start()
    for part in (
        f"no certificate was found for DOMAIN={public}",
        "server.pem",
        "/etc/letsencrypt",
        "acme.yaml",
        "CERTS=dev",
    ):
        assert part in str(error.value)
    assert not list(certs.iterdir())
    # Said explicitly, it is made, and served.
    new_service("dev", domain=domain).start()
    with pytest.raises(CertificateError, match=rf"which no client trusts, and DOMAIN has {re.escape(public)}\."):
        new_service(domain=domain).start()


@pytest.mark.parametrize("directory", [".", "live/example.com"])
def test_files_that_cannot_replace_a_development_pair_are_reported(certs: Path, ca: trustme.CA, directory: str) -> None:
    new_service().start()
    (certs / directory).mkdir(parents=True, exist_ok=True)
    leaf = ca.issue_cert("example.com")
    (certs / directory / "example.crt").write_bytes(leaf.cert_chain_pems[0].bytes())
    with pytest.raises(CertificateError) as error:
        new_service(domain="example.com").start()
    assert "which no client trusts, and DOMAIN has example.com" in str(error.value)
    assert "example.crt is a certificate for example.com, and its private key is not there" in str(error.value)
    assert "ca.pem" not in str(error.value)


@pytest.mark.parametrize("name", ["server.pfx", "example.crt", "example.key", "private.txt", "server.p7b", "ca.pem"])
@pytest.mark.parametrize("domain", ["localhost", "example.com"])
def test_no_development_pair_is_made_beside_a_certificate_or_a_key(
    certs: Path, ca: trustme.CA, name: str, domain: str
) -> None:
    leaf = ca.issue_cert("example.com")
    content = {"crt": leaf.cert_chain_pems[0], "pem": ca.cert_pem}.get(name[-3:], leaf.private_key_pem).bytes()
    (certs / name).write_bytes(b"\x30\x03binary" if name.endswith(("pfx", "p7b")) else content)
    with pytest.raises(CertificateError, match=f"no certificate there has its private key in PEM: {name} "):
        new_service(domain=domain).start()
    assert [file.name for file in certs.iterdir()] == [name]


@pytest.mark.parametrize("source", ["auto", "dev"])
@pytest.mark.parametrize("name", ["live", "archive"])
def test_nothing_is_written_into_certbots_directory(certs: Path, source: str, name: str) -> None:
    (certs / name).mkdir()
    with pytest.raises(CertificateError, match=f"{name}/ is there, so this is certbot's directory"):
        new_service(source).start()
    assert [file.name for file in certs.iterdir()] == [name]


def test_a_real_pair_replaces_a_development_pair_while_the_stack_runs(
    certs: Path, ca: trustme.CA, capsys: pytest.CaptureFixture[str]
) -> None:
    running = new_service()
    running.start()
    lineage = certs / "live" / "localhost-0001"
    lineage.mkdir(parents=True)
    leaf = ca.issue_cert("localhost")
    (lineage / "fullchain.pem").write_bytes(leaf.cert_chain_pems[0].bytes())
    leaf.private_key_pem.write_to_path(lineage / "privkey.pem")
    running.poll()
    assert published(certs) == leaf.cert_chain_pems[0].bytes()
    assert "from live/localhost-0001/fullchain.pem and live/localhost-0001/privkey.pem" in capsys.readouterr().out
    new_service().start()
    assert published(certs) == leaf.cert_chain_pems[0].bytes()


@pytest.mark.usefixtures("certs")
def test_no_pair_is_made_with_certs_set_to_files() -> None:
    with pytest.raises(
        CertificateError, match=r"there is no pair\. Put server.pem and server.key there, or set CERTS=dev"
    ):
        new_service("files").start()


def test_with_certs_set_to_dev_another_kind_of_pair_is_an_error(certs: Path, ca: trustme.CA) -> None:
    write_pair(ca.issue_cert("localhost"), certs)
    with pytest.raises(CertificateError, match="CERTS=dev, but the pair there is not a development pair"):
        new_service("dev").start()


def test_a_restart_does_not_publish_the_same_pair_again(certs: Path, ca: trustme.CA) -> None:
    write_pair(ca.issue_cert("localhost"), certs)
    new_service().start()
    before = (certs.parent / "TLS_VOLUME" / "current").readlink()
    new_service().start()
    assert (certs.parent / "TLS_VOLUME" / "current").readlink() == before


def test_an_error_that_lasts_for_a_moment_is_not_reported(
    certs: Path, ca: trustme.CA, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pair(ca.issue_cert("localhost"), certs)
    running = new_service()
    running.start()
    renewed = ca.issue_cert("localhost")
    renewed.private_key_pem.write_to_path(certs / "server.key")
    running.poll()
    clock.now += report.REPORT_DELAY - 1
    running.poll()
    assert health(certs) == "ok"
    write_pair(renewed, certs)
    running.poll()
    assert published(certs) == (certs / "server.pem").read_bytes()
    assert "is not the key" not in capsys.readouterr().out


def test_a_lasting_error_is_logged_once_and_the_invalid_pair_never_published(
    certs: Path, ca: trustme.CA, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pair(ca.issue_cert("localhost"), certs)
    running = new_service()
    running.start()
    good = published(certs)
    write_pair(ca.issue_cert("localhost", not_after=NOW - timedelta(days=1)), certs)
    poll_repeatedly(running, clock)
    assert published(certs) == good
    assert health(certs).startswith("the certificate expired on")
    assert capsys.readouterr().out.count("expired on") == 1
    for name in ("server.pem", "server.key"):
        (certs / name).unlink()
    poll_repeatedly(running, clock)
    assert health(certs) == "the pair is missing. Put one there again"
    assert published(certs) == good
    write_pair(ca.issue_cert("localhost"), certs)
    running.poll()
    assert health(certs) == "ok"
    assert published(certs) == (certs / "server.pem").read_bytes()


def test_near_expiry_makes_it_unhealthy_only_after_the_startup_grace(
    certs: Path, ca: trustme.CA, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pair(ca.issue_cert("localhost", not_after=NOW + timedelta(days=3, hours=1)), certs)
    running = new_service(warn_days=4)
    running.start()
    assert health(certs) == "ok"
    clock.now += report.STARTUP_GRACE
    running.poll()
    assert health(certs) == "the certificate expires in 3 days"
    log = capsys.readouterr().out
    assert "3 days from now" in log
    assert "fewer than 4 days are left (CERTS_WARN_DAYS)" in log
    clock.now += report.LOG_INTERVAL
    running.poll()
    assert "3 days from now" in capsys.readouterr().out
    write_pair(ca.issue_cert("localhost", not_after=NOW + timedelta(days=90)), certs)
    running.poll()
    assert health(certs) == "ok"


def mount_secret(certs: Path, generation: str, leaf: trustme.LeafCert, ca: trustme.CA) -> None:
    """Write tls.crt, tls.key and ca.crt as the kubelet does: links into a directory that one rename replaces."""
    (certs / f"..{generation}").mkdir()
    write_pair(leaf, certs / f"..{generation}")
    for given, name in (("server.pem", "tls.crt"), ("server.key", "tls.key")):
        (certs / f"..{generation}" / given).rename(certs / f"..{generation}" / name)
    ca.cert_pem.write_to_path(certs / f"..{generation}" / "ca.crt")
    (certs / "..new").symlink_to(f"..{generation}")
    (certs / "..new").replace(certs / "..data")
    for name in ("tls.crt", "tls.key", "ca.crt"):
        if not (certs / name).is_symlink():
            (certs / name).symlink_to(f"..data/{name}")


def test_a_secret_of_kubernetes_is_read_as_it_is_mounted(certs: Path, clock: Clock) -> None:
    root = trustme.CA()
    ca = root.create_child_ca()
    first, second = ca.issue_cert("localhost"), ca.issue_cert("localhost")
    mount_secret(certs, "1", first, root)
    running = CertificateService(Settings("files", "certs", ["localhost"], 0))
    running.start()
    assert published(certs).startswith(first.cert_chain_pems[0].bytes())
    mount_secret(certs, "2", second, root)
    poll_repeatedly(running, clock)
    assert published(certs).startswith(second.cert_chain_pems[0].bytes())
    assert health(certs) == "ok"
