"""The desk at work: what it publishes at the start, what it takes later, and what it says of its health."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from desk import CertificateError, report, service
from desk.acme import Acme, Order
from desk.publish import published
from desk.service import Desk
from desk.settings import Settings
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
    assert clock  # no look waits
    monkeypatch.setattr("desk.publish.READER", os.getuid())
    for name in ("INPUT", "OUTPUT", "EXPIRY"):
        directory = tmp_path / name
        directory.mkdir()
        monkeypatch.setattr(service, name, directory)
    monkeypatch.setattr(report, "HEALTH", tmp_path / "health")
    return tmp_path / "INPUT"


def health(certs: Path) -> str:
    return (certs.parent / "health").read_text().strip()


def served(certs: Path) -> bytes:
    pair = published(certs.parent / "OUTPUT")
    assert pair
    return pair.certificate


def look_on(at_work: Desk, clock: Clock) -> None:
    """Let it look for longer than it is patient, and than it waits to check again."""
    for _ in range(20):
        at_work.look()
        clock.now += 1


@pytest.fixture
def store(certs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where certbot has put what it obtained; certbot itself does nothing."""
    monkeypatch.setattr("desk.acme.STORE", certs.parent / "acme")
    monkeypatch.setattr(Acme, "look", lambda *_: None)
    live = certs.parent / "acme" / "live" / "wss"
    live.mkdir(parents=True)
    return live


def desk_with_acme(**clients: str) -> Desk:
    return Desk(Settings("acme", "certs/live", ["localhost"], 14, order=Order(["localhost"]), **clients))


@pytest.mark.parametrize("names", [(), ("localhost",), ("other.example",)], ids=["nothing", "expired", "other names"])
def test_until_an_acme_server_has_issued_one_its_own_is_served(
    certs: Path, ca: trustme.CA, store: Path, names: tuple[str, ...]
) -> None:
    if names:
        past = NOW - timedelta(days=1) if names == ("localhost",) else NOW + timedelta(days=1)
        write_pair(ca.issue_cert(*names, not_after=past), store)
    at_work = desk_with_acme()
    at_work.start()
    temporary = served(certs)
    assert health(certs) == "ok"
    write_pair(ca.issue_cert("localhost"), store)
    at_work.look()
    assert served(certs) == (store / "server.pem").read_bytes() != temporary
    assert health(certs) == "ok"


def test_what_was_issued_before_is_served_at_once(certs: Path, ca: trustme.CA, store: Path) -> None:
    write_pair(ca.issue_cert("localhost"), store)
    desk_with_acme().start()
    assert served(certs) == (store / "server.pem").read_bytes()


def test_clients_need_their_certificate_from_the_start(certs: Path, ca: trustme.CA, store: Path) -> None:
    assert store
    ca.cert_pem.write_to_path(certs / "clients.pem")
    desk_with_acme(client_ca="clients.pem").start()
    assert (certs.parent / "OUTPUT" / "current" / "client-ca.pem").read_bytes() == ca.cert_pem.bytes()


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"-----BEGIN CERTIFICATE-----\nMIIB"], ids=["empty", "blank", "cut off"]
)
def test_a_broken_list_never_means_that_nothing_is_revoked(
    certs: Path, ca: trustme.CA, clock: Clock, content: bytes
) -> None:
    write_pair(ca.issue_cert("localhost"), certs)
    ca.cert_pem.write_to_path(certs / "clients.pem")
    at_work = Desk(Settings("files", "certs/live", ["localhost"], 14, client_ca="clients.pem"))
    at_work.start()
    (certs / "clients.pem").write_bytes(content)
    at_work.look()
    clock.now += report.PATIENCE
    at_work.look()
    assert health(certs) == "clients.pem is empty or cut off. Put the whole file there, in PEM form"
    assert (certs.parent / "OUTPUT" / "current" / "client-ca.pem").read_bytes() == ca.cert_pem.bytes()
    # The pair does not wait for it, nor it for the pair.
    write_pair(ca.issue_cert("localhost"), certs)
    at_work.look()
    assert served(certs) == (certs / "server.pem").read_bytes()
    assert (certs.parent / "OUTPUT" / "current" / "client-ca.pem").read_bytes() == ca.cert_pem.bytes()
    (certs / "server.key").unlink()
    other = trustme.CA()
    other.cert_pem.write_to_path(certs / "clients.pem")
    at_work.look()
    assert (certs.parent / "OUTPUT" / "current" / "client-ca.pem").read_bytes() == other.cert_pem.bytes()


def test_added_names_do_not_take_the_certificate_of_the_others_away(certs: Path, ca: trustme.CA, store: Path) -> None:
    write_pair(ca.issue_cert("localhost"), store)
    at_work = Desk(Settings("acme", "certs/live", ["new.example", "localhost"], 14, order=Order(["new.example"])))
    at_work.start()
    assert served(certs) == (store / "server.pem").read_bytes()
    write_pair(ca.issue_cert("localhost", "new.example"), store)
    at_work.look()
    assert served(certs) == (store / "server.pem").read_bytes()


def desk(source: str = "auto", warn_days: int = 14) -> Desk:
    return Desk(Settings(source, "certs/live", ["localhost"], warn_days))


def test_a_pair_that_is_there_is_published(certs: Path, ca: trustme.CA) -> None:
    write_pair(ca.issue_cert("localhost", not_after=NOW + timedelta(days=90)), certs)
    desk("files").start()
    assert served(certs) == (certs / "server.pem").read_bytes()
    assert health(certs) == "ok"
    expiry = float((certs.parent / "EXPIRY" / "expiry").read_text())
    assert abs(expiry - (NOW + timedelta(days=90)).timestamp()) < 2


@pytest.mark.parametrize("source", ["auto", "dev"])
def test_where_none_is_there_one_is_made(certs: Path, source: str) -> None:
    desk(source).start()
    assert served(certs) == (certs / "server.pem").read_bytes()
    desk(source).start()  # and taken the next time


@pytest.mark.usefixtures("certs")
def test_of_files_alone_none_is_made() -> None:
    with pytest.raises(
        CertificateError, match=r"there is no pair\. Put server.pem and server.key there, or set CERTS=dev"
    ):
        desk("files").start()


def test_a_pair_of_ones_own_is_no_development_pair(certs: Path, ca: trustme.CA) -> None:
    write_pair(ca.issue_cert("localhost"), certs)
    with pytest.raises(CertificateError, match="CERTS=dev, but there is a pair of your own"):
        desk("dev").start()


def test_a_desk_that_comes_back_publishes_nothing_new(certs: Path, ca: trustme.CA) -> None:
    write_pair(ca.issue_cert("localhost"), certs)
    desk().start()
    before = (certs.parent / "OUTPUT" / "current").readlink()
    desk().start()
    assert (certs.parent / "OUTPUT" / "current").readlink() == before


def test_what_is_bad_for_a_moment_is_not_talked_about(
    certs: Path, ca: trustme.CA, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pair(ca.issue_cert("localhost"), certs)
    at_work = desk()
    at_work.start()
    renewed = ca.issue_cert("localhost")
    renewed.private_key_pem.write_to_path(certs / "server.key")
    at_work.look()
    clock.now += report.PATIENCE - 1
    at_work.look()
    assert health(certs) == "ok"
    write_pair(renewed, certs)
    at_work.look()
    assert served(certs) == (certs / "server.pem").read_bytes()
    assert "is not the key" not in capsys.readouterr().out


def test_what_stays_bad_is_said_once_and_never_served(
    certs: Path, ca: trustme.CA, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pair(ca.issue_cert("localhost"), certs)
    at_work = desk()
    at_work.start()
    good = served(certs)
    write_pair(ca.issue_cert("localhost", not_after=NOW - timedelta(days=1)), certs)
    look_on(at_work, clock)
    assert served(certs) == good
    assert health(certs).startswith("the certificate expired on")
    assert capsys.readouterr().out.count("expired on") == 1
    for name in ("server.pem", "server.key"):
        (certs / name).unlink()
    look_on(at_work, clock)
    assert health(certs) == "the pair is gone. Put one there again"
    assert served(certs) == good
    write_pair(ca.issue_cert("localhost"), certs)
    at_work.look()
    assert health(certs) == "ok"
    assert served(certs) == (certs / "server.pem").read_bytes()


def test_few_days_left_let_it_start_and_are_seen_after_a_while(
    certs: Path, ca: trustme.CA, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pair(ca.issue_cert("localhost", not_after=NOW + timedelta(days=3, hours=1)), certs)
    at_work = desk(warn_days=4)
    at_work.start()
    assert health(certs) == "ok"
    clock.now += report.FORBEARANCE
    at_work.look()
    assert health(certs) == "the certificate expires in 3 days"
    said = capsys.readouterr().out
    assert "3 days from now" in said
    assert "fewer than 4 days are left (CERTS_WARN_DAYS)" in said
    clock.now += report.DAY
    at_work.look()
    assert "3 days from now" in capsys.readouterr().out
    write_pair(ca.issue_cert("localhost", not_after=NOW + timedelta(days=90)), certs)
    at_work.look()
    assert health(certs) == "ok"
