"""Who waits for `up --wait` may connect to each service: Docker publishes a port before the program listens."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from server import REPOSITORY

FILES = [*REPOSITORY.glob("tests/harness/*/compose.yaml"), *REPOSITORY.glob("examples/*/compose.yaml")]
# Those of compose.yaml have theirs there.
OURS = {"apache", "backend", "certs", "check", "direct", "hub", "names", "nginx"}


def services() -> list[Any]:
    found = [(file, name) for file in FILES for name in yaml.safe_load(file.read_text())["services"]]
    return [pytest.param(file, name, id=f"{file.parent.name}-{name}") for file, name in found if name not in OURS]


@pytest.mark.parametrize(("file", "name"), services())
def test_a_service_beside_ours_is_healthy_when_it_listens(file: Path, name: str) -> None:
    service = yaml.safe_load(file.read_text())["services"][name]
    if "image" not in service:  # an overlay of another file that is listed
        others = [yaml.safe_load(other.read_text())["services"].get(name, {}) for other in FILES]
        service = next(other for other in others if "image" in other)
    check = service["healthcheck"]
    assert "/dev/tcp/127.0.0.1/" in check["test"][-1]
    assert check.keys() >= {"start_period", "start_interval"}
