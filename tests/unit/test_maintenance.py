"""What keeps the repository up to date: dependabot knows every list of packages, and a release has the right tag."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from server import REPOSITORY

VERSION = (REPOSITORY / "VERSION").read_text().strip()
FILES = {"pip": "requirements.in", "npm": "package.json", "composer": "composer.json", "docker": "Dockerfile"}
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").iterdir())


def tracked(name: str) -> list[str]:
    """Return the directories that contain a file of this name, as dependabot.yml writes them."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", name, f"*/{name}"]
    done = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return sorted(f"/{Path(file).parent}" for file in done.stdout.splitlines())


@pytest.mark.parametrize("ecosystem", FILES)
def test_dependabot_knows_every_list_of_packages(ecosystem: str) -> None:
    text = (REPOSITORY / ".github" / "dependabot.yml").read_text()
    part = text.partition(f"- package-ecosystem: {ecosystem}\n")[2].partition("schedule:")[0]
    assert re.findall(r"/[\w./-]*", part) == tracked(FILES[ecosystem])


def test_every_list_of_packages_is_pinned() -> None:
    assert tracked("requirements.in") == tracked("requirements.txt")
    assert tracked("package.json") == tracked("package-lock.json")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_of_others_are_pinned_by_commit(workflow: Path) -> None:
    used = re.findall(r"\buses: (.*)", workflow.read_text())
    assert used
    own = r"\./\.github/workflows/\S+"
    pinned = r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+"
    assert [each for each in used if not re.fullmatch(f"{own}|{pinned}", each)] == []


def release(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run `.ci/release`, a step of the workflow."""
    plain = {name: value for name, value in os.environ.items() if name not in {"IMAGES", "GITHUB_REF_NAME"}}
    command = [str(REPOSITORY / ".ci" / "release"), *arguments]
    return subprocess.run(command, env={**plain, **environment}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("tag", "images", "error"),
    [
        (f"v{VERSION}", "ghcr.io/owner/wss", ""),
        (f"v{VERSION}", "localhost.example:5000/wss", ""),
        (VERSION, "ghcr.io/owner/wss", f"error: the tag is {VERSION}, and VERSION is {VERSION}. "),
        ("v0.0.1", "ghcr.io/owner/wss", f"error: the tag is v0.0.1, and VERSION is {VERSION}. "),
        (f"v{VERSION}", "", "error: IMAGES is ''. Set the repository variable IMAGES "),
        (f"v{VERSION}", "wss", "error: IMAGES is 'wss'. Set the repository variable IMAGES "),
    ],
)
def test_a_release_needs_the_tag_of_its_version_and_a_registry(tag: str, images: str, error: str) -> None:
    done = release("check", GITHUB_REF_NAME=tag, IMAGES=images)
    assert done.returncode == (1 if error else 0)
    assert done.stderr.startswith(error)
    assert bool(done.stderr) == bool(error)


def test_the_notes_of_a_release_are_its_part_of_the_changelog() -> None:
    notes = release("notes").stdout
    assert notes.strip()
    assert f"## [{VERSION}]" not in notes
    assert notes in (REPOSITORY / "CHANGELOG.md").read_text().partition(f"## [{VERSION}]")[2]
    assert not re.search("^## ", notes, re.MULTILINE)
