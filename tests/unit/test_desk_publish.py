"""What is handed over, and what of it is kept."""

import os
from pathlib import Path

import pytest
import trustme
from desk.pair import read_pair
from desk.publish import KEPT, publish, published, stage
from pairs import write_pair


def test_publishing_replaces_the_pair_as_a_whole(
    ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("desk.publish.READER", os.getuid())
    source, volume = tmp_path / "source", tmp_path / "volume"
    source.mkdir()
    volume.mkdir()
    for _ in range(KEPT + 2):
        write_pair(ca.issue_cert("localhost"), source)
        pair = read_pair(source)
        assert pair
        publish(stage(pair, volume))
        assert published(volume) == pair
    assert len(list(volume.iterdir())) == KEPT + 1  # pairs that somebody may still be reading, and the link
