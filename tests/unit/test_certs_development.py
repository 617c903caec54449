"""The development pair."""

from pathlib import Path

import pytest
from certificates import CertificateError
from certificates.check import check_pair
from certificates.development import make_pair
from certificates.pair import read_pair


def test_a_development_pair_serves_the_domain_and_loopback(tmp_path: Path) -> None:
    make_pair(tmp_path, ["example.com", "localhost"])
    pair = read_pair(tmp_path)
    assert pair
    check_pair(pair, ["example.com", "localhost", "127.0.0.1", "::1"], tmp_path)
    assert (tmp_path / "server.key").stat().st_mode & 0o777 == 0o600
    assert {file.name for file in tmp_path.iterdir()} == {"ca.pem", "server.key", "server.pem"}


def test_no_development_pair_is_made_for_an_invalid_name(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="Correct DOMAIN"):
        make_pair(tmp_path, ["not a name"])
    assert not list(tmp_path.iterdir())
