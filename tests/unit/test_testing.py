"""wss.testing, as docs/handler.md shows it."""

from pathlib import Path

import pytest
import trustme
from apps.echo import handler
from wss.testing import serve


def test_a_handler_is_served() -> None:
    with serve(handler) as server, server.connect() as client:
        client.send("tom")
        assert client.recv(timeout=60) == "tom"


def test_settings_count() -> None:
    with serve(handler, MAX_MESSAGE="1K") as server, server.connect() as client:
        client.send("x" * 1025)
        with pytest.raises(Exception, match="1009"):
            client.recv(timeout=60)


def test_tls_is_verified(tls_dir: Path, ca: trustme.CA, tmp_path: Path) -> None:
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    with serve(handler, tls=tls_dir, ca=tmp_path / "ca.pem") as server, server.connect() as client:
        client.send(b"tom")
        assert client.recv(timeout=60) == b"tom"
