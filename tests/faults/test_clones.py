"""Clones with a user's handler, and unchanged clones in the profiles that tests/e2e does not cover."""

import re
from pathlib import Path

import pytest
from clone import assert_serves_with_a_certificate_of_its_own, copy_repository, reply_to_tom
from eventually import eventually
from fixtures import Connect, NewStack
from stack import REPOSITORY

README = REPOSITORY / "README.md"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    copy_repository(tmp_path)
    return tmp_path


@pytest.mark.profiles("apache", "direct")
def test_an_untouched_clone_serves_with_a_certificate_of_its_own(
    profile: str, new_stack: NewStack, clone: Path, connect: Connect
) -> None:
    assert_serves_with_a_certificate_of_its_own(new_stack(profile, directory=clone, CERTS_DIR=""), connect)


def shout() -> str:
    """Return the handler of the README."""
    (code,) = re.findall(r"```python\n(# handlers/shout.py\n.*?)```", README.read_text(), re.DOTALL)
    return str(code)


@pytest.mark.profiles("nginx")
def test_a_users_handler_in_the_image_works_as_in_the_readme(
    profile: str, new_stack: NewStack, clone: Path, certs: Path, ca_file: Path, connect: Connect
) -> None:
    (clone / "handlers" / "shout.py").write_text(shout())
    stack = new_stack(profile, directory=clone, CERTS_DIR=str(certs), APP="handlers.shout:handler")
    stack.up()
    assert reply_to_tom(connect, stack, ca_file) == "TOM"


@pytest.mark.profiles("direct")
def test_a_package_from_source_and_a_secret_reach_the_handler(
    profile: str, new_stack: NewStack, clone: Path, certs: Path, ca_file: Path, connect: Connect
) -> None:
    # Built from source, which needs a compiler.
    (clone / "handlers" / "requirements.txt").write_text("--no-binary=markupsafe\nmarkupsafe==3.0.3\n")
    (clone / "handlers" / "escape.py").write_text(
        "import os\nfrom markupsafe import _speedups, escape\n\nKEY = os.environ['API_KEY']\n\n\n"
        "async def handler(connection):\n    async for message in connection:\n"
        "        await connection.send(f'{escape(message)} {KEY} {bool(_speedups)}')\n"
    )
    (clone / "handler.env").write_text("API_KEY=<secret>\n")
    stack = new_stack(profile, directory=clone, CERTS_DIR=str(certs), APP="handlers.escape:handler")
    stack.up()
    assert reply_to_tom(connect, stack, ca_file) == "tom <secret> True"


@pytest.mark.profiles("nginx")
def test_a_change_is_served_as_in_docs_handler(
    profile: str, new_stack: NewStack, clone: Path, certs: Path, ca_file: Path, connect: Connect
) -> None:
    handler = clone / "handlers" / "shout.py"
    handler.write_text(shout())
    files = (clone / "compose.yaml", clone / "develop.yaml")
    # Mounted as they are: readable for the user in the container.
    for path in (handler.parent, handler, handler.parent / "README.md"):
        path.chmod(0o755)
    stack = new_stack(profile, directory=clone, files=files, CERTS_DIR=str(certs), APP="handlers.shout:handler")
    stack.up()
    assert reply_to_tom(connect, stack, ca_file) == "TOM"
    # Editors replace the file in this way.
    changed = handler.with_suffix(".new")
    changed.write_text(shout().replace("upper", "title"))
    changed.chmod(0o644)
    changed.rename(handler)
    eventually(lambda: reply_to_tom(connect, stack, ca_file) == "Tom", "a new worker uses the changed handler")
