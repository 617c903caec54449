"""The images of a Compose project: each is built once per run, however many combinations of Compose files have it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """The result of a Compose command: its exit code and output."""

    code: int
    output: str


def build_missing(compose: Callable[..., Outcome], directory: Path, services: tuple[str, ...]) -> None:
    """Build the images of these services, or of all, of which the directory has no mark; then mark them.

    Also without a change, a build takes a second of CPU time for each image.
    """
    config = compose("config", "--format=json", *services)
    assert config.code == 0, f"docker compose config failed:\n{config.output}"
    missing: dict[Path, str] = {}
    for name, service in json.loads(config.output[config.output.index("{") :])["services"].items():
        if "build" in service and (not services or name in services):
            image = json.dumps([service["image"], service["build"]], sort_keys=True)
            missing[directory / f"image {sha256(image.encode()).hexdigest()}"] = name
    missing = {mark: name for mark, name in missing.items() if not mark.exists()}
    if missing:
        outcome = compose("build", *missing.values())
        assert outcome.code == 0, f"docker compose build failed:\n{outcome.output}"
    for mark in missing:
        mark.touch()
