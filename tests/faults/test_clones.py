"""Clones with a user's handler, and unchanged clones in the profiles that tests/e2e does not cover."""

import re
from pathlib import Path

import pytest
from clone import assert_serves_with_a_certificate_of_its_own, copy_repository, reply_to_tom
from eventually import eventually
from fixtures import Connect, NewStack


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    copy_repository(tmp_path)
    return tmp_path


@pytest.mark.profiles("apache", "direct")
def test_an_untouched_clone_serves_with_a_certificate_of_its_own(
    profile: str, new_stack: NewStack, clone: Path, connect: Connect
) -> None:
    assert_serves_with_a_certificate_of_its_own(new_stack(profile, directory=clone, CERTS_DIR=""), connect)


@pytest.mark.profiles("nginx")
def test_a_users_handler_in_the_image_works_as_in_the_readme(
    profile: str, new_stack: NewStack, clone: Path, certs: Path, ca_file: Path, connect: Connect
) -> None:
    # The code is taken from the README.
    (code,) = re.findall(r"```python\n(# backend/apps/shout.py\n.*?)```", (clone / "README.md").read_text(), re.DOTALL)
    (clone / "backend" / "apps" / "shout.py").write_text(code)
    stack = new_stack(profile, directory=clone, CERTS_DIR=str(certs), APP="apps.shout:handler")
    stack.up()
    assert reply_to_tom(connect, stack, ca_file) == "TOM"


@pytest.mark.profiles("nginx")
def test_a_mounted_handler_is_reloaded_on_sighup_as_in_the_readme(
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
    assert reply_to_tom(connect, stack, ca_file) == "TOM"
    # Editors replace the file in this way.
    changed = handler.with_suffix(".new")
    changed.write_text(code.replace("upper", "title"))
    changed.rename(handler)
    assert stack.compose("kill", "--signal=HUP", "backend").code == 0
    eventually(lambda: reply_to_tom(connect, stack, ca_file) == "Tom", "a new worker uses the changed handler")
