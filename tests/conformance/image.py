"""The images of the tools that judge."""

import subprocess
from pathlib import Path

from stack import REPOSITORY


def build(name: str, base: str = "debian:trixie-slim") -> str:
    """Build the image of the directory `name`, which later runs reuse; return its tag."""
    subprocess.run([REPOSITORY / "tools" / "engine", base], check=True)
    tag = f"wss-{name}"
    subprocess.run(["docker", "build", "--quiet", "--tag", tag, Path(__file__).parent / name], check=True)
    return tag
