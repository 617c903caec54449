"""A clone on Windows has the same line ends: with CR, no script runs in a container."""

import subprocess
from pathlib import Path

from clone import copy_repository


def git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *identity, *arguments], cwd=directory, check=True, capture_output=True, text=True)
    return done.stdout


def files_with_cr(clone: Path) -> list[str]:
    """Return the files of text with a CR; git counts those of a file that contains NUL as binary, "i/-text"."""
    listed = [line.partition("\t") for line in git(clone, "ls-files", "--eol", "-z").split("\0") if line]
    return [name for kind, _, name in listed if not kind.startswith("i/-text") and b"\r" in (clone / name).read_bytes()]


def test_a_clone_that_converts_line_ends_has_no_cr(tmp_path: Path) -> None:
    source = tmp_path / "source"
    copy_repository(source)
    git(source, "init", "--quiet")
    for name in ("as it is", "without attributes"):
        if name == "without attributes":
            (source / ".gitattributes").unlink()
        git(source, "add", "--all")
        git(source, "commit", "--quiet", "--message", name)
        git(tmp_path, "clone", "--quiet", "--config", "core.autocrlf=true", "source", name)
    assert files_with_cr(tmp_path / "as it is") == []
    # The test is able to fail.
    assert "proxy/start" in files_with_cr(tmp_path / "without attributes")
