"""`make outdated`: which pinned packages have a newer version that their requirements.in or package.json accepts.

Exits with 1 if there is one, or if something could not be checked. Debian's packages have no pins.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]

Row = tuple[str, str, str, str]  # directory, package, pinned version, newest version


def tracked(name: str) -> list[Path]:
    """Return the directories with a file of this name."""
    listing = ["git", "ls-files", "-z", "--", name, f"*/{name}"]
    files = subprocess.run(listing, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    return [(REPOSITORY / file).parent for file in files.split("\0") if file]


def python_packages(directory: Path) -> Iterator[tuple[str, str, str]]:
    """Compare the pins with what would be pinned today."""
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version=3.11", "requirements.in"]
    done = subprocess.run(command, cwd=directory, check=True, stdout=subprocess.PIPE, text=True)
    newest = pins(done.stdout)
    for name, pinned in pins((directory / "requirements.txt").read_text()).items():
        yield name, pinned, newest.get(name, "not needed")


def pins(requirements: str) -> dict[str, str]:
    """Return the pinned version of each package."""
    return dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", requirements, re.MULTILINE))


def node_packages(directory: Path) -> Iterator[tuple[str, str, str]]:
    """Compare what package-lock.json has of the packages that package.json names with the registry."""
    locked = json.loads((directory / "package-lock.json").read_text())["packages"]
    for name in locked[""]["dependencies"]:
        command = ["npm", "view", name, "version"]
        newest = subprocess.run(command, cwd=directory, check=True, stdout=subprocess.PIPE, text=True).stdout
        yield name, locked[f"node_modules/{name}"]["version"], newest.strip()


def outdated() -> Iterator[Row]:
    parts = [(directory, python_packages) for directory in tracked("requirements.in")]
    if shutil.which("npm"):
        parts += [(directory, node_packages) for directory in tracked("package-lock.json")]
    for directory, packages in parts:
        for name, pinned, newest in packages(directory):
            if pinned != newest:
                yield str(directory.relative_to(REPOSITORY)), name, pinned, newest


def main() -> None:
    rows = list(outdated())
    for row in rows:
        print("{:26} {:26} {:12} {}".format(*row))
    if not shutil.which("npm"):
        sys.exit("error: npm is missing, so the packages of Node were not checked. Install npm")
    sys.exit(1 if rows else 0)


if __name__ == "__main__":
    main()
