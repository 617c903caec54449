"""The first minute of somebody new: clone, start, trust the CA that it made, connect."""

import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from client import Target, target_of
from eventually import eventually
from fixtures import Connect, NewStack
from stack import REPOSITORY


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files that git knows, or would add, in a directory of their own; certs/live belongs to somebody else."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
        (tmp_path / name).chmod((REPOSITORY / name).stat().st_mode & 0o700)  # as under a umask of 077
    with contextlib.suppress(PermissionError):  # only root can give it away; else it stays ours
        os.chown(tmp_path / "certs" / "live", 12345, 12345)
    return tmp_path


def test_an_untouched_clone_serves_with_a_certificate_of_its_own(
    profile: str, new_stack: NewStack, clone: Path, connect: Connect
) -> None:
    stack = new_stack(profile, directory=clone, CERTS_DIR="")
    stack.up()
    live = clone / "certs" / "live"
    ca = live / "ca.pem"
    made_files = [live / name for name in ("ca.pem", "server.pem", "server.key")]
    assert {file.stat().st_uid for file in made_files} == {live.stat().st_uid}
    assert (live / "server.key").stat().st_mode & 0o777 == 0o600
    assert _tom(connect, target_of(stack, ca)) == "ok"
    (line,) = [line for line in stack.logs("certs").splitlines() if "To trust it" in line]
    assert "certs/live/ca.pem" in line

    made = {file.name: file.read_bytes() for file in live.iterdir()}
    stack.up("--force-recreate")
    assert {file.name: file.read_bytes() for file in live.iterdir()} == made
    assert _tom(connect, target_of(stack, ca)) == "ok"


@pytest.mark.profiles("nginx")
def test_a_handler_of_ones_own_is_put_in_as_the_readme_says(
    profile: str, new_stack: NewStack, clone: Path, certs: Path, ca_file: Path, connect: Connect
) -> None:
    # The very lines of the README.
    (code,) = re.findall(r"```python\n(# backend/apps/shout.py\n.*?)```", (clone / "README.md").read_text(), re.DOTALL)
    (clone / "backend" / "apps" / "shout.py").write_text(code)
    stack = new_stack(profile, directory=clone, CERTS_DIR=str(certs), APP="apps.shout:handler")
    stack.up()
    assert _tom(connect, target_of(stack, ca_file)) == "TOM"


@pytest.mark.profiles("nginx")
def test_a_mounted_handler_is_taken_anew_as_the_readme_says(
    profile: str, new_stack: NewStack, clone: Path, certs: Path, ca_file: Path, connect: Connect
) -> None:
    readme = (clone / "README.md").read_text()
    (code,) = re.findall(r"```python\n(# backend/apps/shout.py\n.*?)```", readme, re.DOTALL)
    (mount,) = re.findall(r"```yaml\n(x-mine: .*?)```", readme, re.DOTALL)
    override, handler = clone / "compose.override.yaml", clone / "handlers" / "shout.py"
    override.write_text(mount)
    handler.parent.mkdir()
    handler.write_text(code)
    files = (clone / "compose.yaml", override)
    stack = new_stack(profile, directory=clone, files=files, CERTS_DIR=str(certs), APP="handlers.shout:handler")
    stack.up()
    target = target_of(stack, ca_file)
    assert _tom(connect, target) == "TOM"
    # As editors do: another file in its place.
    changed = handler.with_suffix(".new")
    changed.write_text(code.replace("upper", "title"))
    changed.rename(handler)
    assert stack.compose("kill", "--signal=HUP", "backend").code == 0
    eventually(lambda: _tom(connect, target) == "Tom", 20, "the new worker answers")


def _tom(connect: Connect, target: Target) -> str | bytes:
    ws = connect(target)
    ws.send("tom")
    return ws.recv()
