"""What is published, and how many old pairs are kept."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from certificates import CertificateError
from certificates.publish import KEPT_PAIRS, publish, read_published, stage
from certificates.source import read_pair
from pairs import write_pair


def test_publishing_replaces_the_pair_as_a_whole(
    ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("certificates.publish.READER_UID", os.getuid())
    source, volume = tmp_path / "source", tmp_path / "volume"
    source.mkdir()
    volume.mkdir()
    for _ in range(KEPT_PAIRS + 2):
        write_pair(ca.issue_cert("localhost"), source)
        pair = read_pair(source)
        assert pair
        publish(stage(pair, volume))
        assert read_published(volume) == pair
    assert len(list(volume.iterdir())) == KEPT_PAIRS + 1  # the kept pairs, and the link


@pytest.fixture
def volumes() -> Iterator[tuple[Path, Path]]:
    """A source and a volume that every user can reach, unlike tmp_path."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        source, volume = Path(directory, "source"), Path(directory, "volume")
        source.mkdir()
        volume.mkdir()
        yield source, volume


@contextmanager
def user(uid: int) -> Iterator[None]:
    before = os.geteuid()
    if before == 0:
        os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(before)


def test_without_root_the_pair_stays_with_the_user_that_publishes_it(
    ca: trustme.CA, volumes: tuple[Path, Path]
) -> None:
    source, volume = volumes
    write_pair(ca.issue_cert("localhost"), source)
    pair = read_pair(source)
    assert pair
    volume.chmod(0o777)
    with user(4711):
        publish(stage(pair, volume))
        assert read_published(volume) == pair
        assert (volume / "current" / "server.key").stat().st_uid == os.geteuid() != 0


def test_a_refused_change_of_the_owner_is_reported_with_its_remedy(
    ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:  # as for root without capabilities
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", refuse)
    write_pair(ca.issue_cert("localhost"), tmp_path)
    pair = read_pair(tmp_path)
    assert pair
    with pytest.raises(CertificateError, match=r"user 10001 \(Operation not permitted\)\. Add the capability CHOWN"):
        publish(stage(pair, tmp_path))
