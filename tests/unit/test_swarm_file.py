"""deploy/swarm.yaml says of each service what compose.yaml says, but where it has to differ."""

import json
import subprocess
from typing import Any

import pytest
from stack import REPOSITORY

# Swarm's name, and Compose's.
SERVICES = {"proxy": "nginx", "backend": "backend", "hub": "hub", "certs": "certs"}
# What an operator can set in one and not in the other: no files or volumes of a host, and no port to choose.
COMPOSE_ONLY = {"CERTS_PASSWORD_FILE", "CLIENT_CA", "CLIENT_CRL", "HUB_PERSIST", "REVOKED_FILE"}
DIFFERENT = {"HTTPS_PORT", "CERTS", "CERTS_DIR", "HUB", "HUB_PASSWORD_FILE"}


def _services(file: str) -> dict[str, Any]:
    command = ["docker", "compose", "--env-file=/dev/null", "--project-name=wss", f"--file={file}", "--profile=*"]
    done = subprocess.run([*command, "config", "--format=json"], cwd=REPOSITORY, capture_output=True, check=True)
    return dict(json.loads(done.stdout)["services"])


@pytest.fixture(scope="module")
def pairs() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    compose, swarm = _services("compose.yaml"), _services("deploy/swarm.yaml")
    assert set(swarm) == set(SERVICES)
    return {name: (compose[SERVICES[name]], swarm[name]) for name in SERVICES}


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize(
    "key", ["read_only", "cap_add", "cap_drop", "stop_grace_period", "sysctls", "command", "user", "logging"]
)
def test_what_a_container_may_is_the_same(pairs: dict[str, Any], name: str, key: str) -> None:
    compose, swarm = pairs[name]
    assert swarm.get(key) == compose.get(key)


@pytest.mark.parametrize("name", SERVICES)
def test_the_settings_are_the_same(pairs: dict[str, Any], name: str) -> None:
    compose, swarm = (service["environment"] for service in pairs[name])
    assert set(compose) - COMPOSE_ONLY == set(swarm)
    assert {key: value for key, value in swarm.items() if key not in DIFFERENT} == {
        key: value for key, value in compose.items() if key not in DIFFERENT | COMPOSE_ONLY
    }


@pytest.mark.parametrize("name", SERVICES)
def test_the_health_check_is_the_same(pairs: dict[str, Any], name: str) -> None:
    compose, swarm = (dict(service["healthcheck"]) for service in pairs[name])
    compose.pop("start_interval")  # which docker stack deploy does not know
    assert swarm == compose


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_is_the_same(pairs: dict[str, Any], name: str) -> None:
    compose, swarm = pairs[name]
    kept = {mount["target"]: mount.get("read_only", False) for mount in swarm["volumes"] if mount["type"] == "volume"}
    passing = {mount["target"] for mount in swarm["volumes"] if mount["type"] == "tmpfs"}
    # Instead of these there are secrets.
    assert kept == {
        mount["target"]: mount.get("read_only", False)
        for mount in compose["volumes"]
        if mount["type"] == "volume" and mount["target"] != "/hub"
    }
    assert passing == {mount.partition(":")[0] for mount in compose["tmpfs"]}


def test_networks_are_as_closed(pairs: dict[str, Any]) -> None:
    for name in ("proxy", "backend", "hub"):
        compose, swarm = pairs[name]
        assert set(swarm["networks"]) == set(compose["networks"])
    # No way out for the certificate service, as with network_mode: none, which Swarm does not know.
    assert list(pairs["certs"][1]["networks"]) == ["alone"]
