"""What is published, and how many old pairs are kept."""

import os
from pathlib import Path

import pytest
import trustme
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
