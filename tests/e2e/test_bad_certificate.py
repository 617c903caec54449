"""An invalid certificate stops the stack before any server starts; the other cases are in tests/faults."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from fixtures import NewStack
from pairs import write_pair


def test_an_expired_certificate_stops_the_start(
    profile: str, new_stack: NewStack, ca: trustme.CA, tmp_path: Path
) -> None:
    write_pair(ca.issue_cert("localhost", not_after=datetime.now(UTC) - timedelta(days=1)), tmp_path)
    stack = new_stack(profile, CERTS_DIR=str(tmp_path))
    assert stack.start("--wait").code != 0
    stack.wait_for_log("certs", "expired on")
    assert all(container.status != "running" for container in stack.containers())
