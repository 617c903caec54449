"""A fresh clone, and the test that it works without any settings."""

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from client import target_of
from fixtures import Connect
from stack import REPOSITORY, Stack


def copy_repository(directory: Path) -> None:
    """Copy the files that git tracks or would add; certs/live gets a different owner, if this process is root."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if not (REPOSITORY / name).exists():
            continue  # deleted, but not committed
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, directory / name)
        (directory / name).chmod((REPOSITORY / name).stat().st_mode & 0o700)  # as under a umask of 077
    with suppress(PermissionError):  # only root may change the owner
        os.chown(directory / "certs" / "live", 12345, 12345)


def assert_serves_with_a_certificate_of_its_own(stack: Stack, connect: Connect) -> None:
    """Start it as in the README, connect with the CA that it created, and start it again with the same certificate."""
    live = stack.directory / "certs" / "live"
    ca = live / "ca.pem"
    outcome = stack.compose("up", "--wait")
    assert outcome.code == 0, outcome.output
    created_files = [live / name for name in ("ca.pem", "server.pem", "server.key")]
    assert {file.stat().st_uid for file in created_files} == {live.stat().st_uid}
    assert (live / "server.key").stat().st_mode & 0o777 == 0o600
    assert reply_to_tom(connect, stack, ca) == "ok"
    line = stack.wait_for_log("certs", "To trust it")
    assert "certs/live/ca.pem" in line

    created = {file.name: file.read_bytes() for file in live.iterdir()}
    outcome = stack.compose("up", "--wait", "--force-recreate")
    assert outcome.code == 0, outcome.output
    assert {file.name: file.read_bytes() for file in live.iterdir()} == created
    assert reply_to_tom(connect, stack, ca) == "ok"


def reply_to_tom(connect: Connect, stack: Stack, ca: Path) -> str | bytes:
    ws = connect(target_of(stack, ca))
    ws.send("tom")
    return ws.recv()
