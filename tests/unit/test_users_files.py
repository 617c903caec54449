"""A user's own files are never tracked, so that an update cannot conflict with them."""

import re
import subprocess

import pytest
from server import REPOSITORY
from test_settings_agree import documented

OPERATIONS = REPOSITORY / "docs" / "operations.md"
# The files in a directory of the list.
EXAMPLES = {"handlers/": "handlers/shop.py", "secrets/": "secrets/api_key", "certs/live": "certs/live/server.pem"}


def users_files() -> list[str]:
    """Return the list in docs/operations.md."""
    (line,) = re.findall(
        r"^Keep your own files in places that git ignores: (.*)\.$", OPERATIONS.read_text(), re.MULTILINE
    )
    names = re.findall(r"`(.*?)`", line)
    assert {"compose.override.yaml", "handler.env", "handlers/", "secrets/", "certs/live", ".env"} == set(names)
    return [EXAMPLES.get(name, name) for name in names]


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("name", users_files())
def test_git_ignores_a_users_file(name: str) -> None:
    assert git("check-ignore", "--no-index", name) == f"{name}\n"
    assert git("ls-files", name) == ""


def test_only_explanations_are_tracked_in_a_users_directories() -> None:
    assert git("ls-files", "handlers", "certs/live").split() == ["certs/live/.gitignore", "handlers/README.md"]


def test_the_example_of_settings_has_existing_names_and_their_defaults() -> None:
    lines = [line for line in (REPOSITORY / ".env.example").read_text().splitlines() if not re.match("# |$", line)]
    settings = dict(re.findall(r"^#([A-Z_]+)=(.*)$", "\n".join(lines), re.MULTILINE))
    defaults = {name: "" if default.startswith("*(") else default for name, default in documented().items()}
    assert settings.items() <= defaults.items()
    assert len(settings) == len(lines) > 0
