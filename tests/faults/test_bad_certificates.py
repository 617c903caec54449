"""A certificate that clients would refuse stops the stack before anything starts, with one line that says why."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from fixtures import NewStack
from pairs import write_pair

NOW = datetime.now(UTC)


def missing_key(ca: trustme.CA, directory: Path) -> None:
    write_pair(ca.issue_cert("localhost"), directory)
    (directory / "server.key").unlink()


def mismatched(ca: trustme.CA, directory: Path) -> None:
    write_pair(ca.issue_cert("localhost"), directory)
    ca.issue_cert("localhost").private_key_pem.write_to_path(directory / "server.key")


def expired(ca: trustme.CA, directory: Path) -> None:
    write_pair(ca.issue_cert("localhost", not_after=NOW - timedelta(days=1)), directory)


def other_domain(ca: trustme.CA, directory: Path) -> None:
    write_pair(ca.issue_cert("other.example"), directory)


def link_to_nowhere(ca: trustme.CA, directory: Path) -> None:
    # As certbot leaves it: live/ is full of links into archive/, which the container does not see.
    write_pair(ca.issue_cert("localhost"), directory)
    (directory / "server.key").rename(directory.parent / "privkey1.pem")
    (directory / "server.key").symlink_to("../privkey1.pem")


@pytest.mark.parametrize(
    ("fault", "cause", "remedy"),
    [
        (missing_key, "server.key is missing", "Put both files there, or neither"),
        (mismatched, "server.key is not the key of server.pem", "Put certificate and key of the same issuance there"),
        (expired, f"expired on {NOW - timedelta(days=1):%Y-%m-%d}", "Put a renewed pair there"),
        (other_domain, "is for other.example, but DOMAIN has localhost", "correct DOMAIN"),
        (link_to_nowhere, "server.key is a link to ../privkey1.pem", "Put the file itself there"),
    ],
)
@pytest.mark.profiles("nginx")
def test_a_bad_certificate_stops_the_start(
    profile: str,
    new_stack: NewStack,
    ca: trustme.CA,
    tmp_path: Path,
    fault: Callable[[trustme.CA, Path], None],
    cause: str,
    remedy: str,
) -> None:
    directory = tmp_path / "certs"
    directory.mkdir()
    fault(ca, directory)
    stack = new_stack(profile, CERTS_DIR=str(directory))

    outcome = stack.start()

    assert outcome.code != 0
    (line,) = [line for line in outcome.output.splitlines() if " | " in line]  # what a container says
    assert str(directory) in line
    assert cause in line
    assert remedy in line
    assert all(container.status != "running" for container in stack.containers())
