"""A new user's first steps: clone, start, trust the generated CA, connect."""

from pathlib import Path

import pytest
from clone import assert_serves_with_a_certificate_of_its_own, copy_repository
from fixtures import Connect, NewStack
from stack import REPOSITORY


@pytest.mark.profiles("nginx")
def test_an_untouched_clone_serves_with_a_certificate_of_its_own(
    profile: str, new_stack: NewStack, connect: Connect, tmp_path: Path
) -> None:
    assert "docker compose --profile nginx up --wait" in (REPOSITORY / "README.md").read_text()
    copy_repository(tmp_path)
    assert_serves_with_a_certificate_of_its_own(new_stack(profile, directory=tmp_path, CERTS_DIR=""), connect)
