"""deploy/kubernetes gives each container what compose.yaml gives its service, except where it has to differ."""

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from manifests import OF_DIRECT, OF_PROXIES, Manifest, containers, of_kind, pods, render, rendered, settings
from stack import REPOSITORY
from wss.config import parsers

# The containers, and the services of compose.yaml that they are. The init containers are their `check` and `names`.
SERVICES = {"backend": "backend", "direct": "direct", "proxy": "nginx", "hub": "hub", "certs": "certs"}
EVERYTHING = (("nginx", *OF_PROXIES), ("apache", *OF_PROXIES), ("direct", *OF_DIRECT))


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    command = ["docker", "compose", "--env-file=/dev/null", "--project-name=wss", "--profile=*", "config"]
    done = subprocess.run([*command, "--format=json"], cwd=REPOSITORY, capture_output=True, check=True)
    return dict(json.loads(done.stdout)["services"])


def each_container() -> Iterator[tuple[str, Manifest, Manifest]]:
    """Yield the name, the container and its pod of everything together."""
    for combination in EVERYTHING:
        for pod in pods(rendered(*combination)).values():
            for container in containers(pod):
                yield container["name"], container, pod


@pytest.mark.parametrize("more", [(), ("drain",)])
@pytest.mark.parametrize("overlay", ["nginx", "direct"])
def test_kubernetes_waits_for_as_long_as_a_stop_takes(
    compose: dict[str, Any], overlay: str, more: tuple[str, ...]
) -> None:
    manifests = rendered(overlay, "hub", *more)
    drain = parsers.drain(settings(manifests).get("STOP_DRAIN", "0"))
    for name, pod in pods(manifests).items():
        (container,) = pod["containers"]
        grace = int(compose[SERVICES[name]]["stop_grace_period"].removesuffix("s"))
        before = container["lifecycle"]["preStop"]["sleep"]["seconds"] + drain if name != "hub" else 0
        assert pod["terminationGracePeriodSeconds"] == before + grace


def test_each_container_has_the_image_of_its_service(compose: dict[str, Any]) -> None:
    for combination in EVERYTHING:
        for pod in pods(rendered(*combination)).values():
            for container in containers(pod):
                service = combination[0] if container["name"] == "proxy" else container["name"]
                assert f"{container['image']}:latest" == compose[service]["image"]


def test_each_container_runs_the_command_of_its_service(compose: dict[str, Any]) -> None:
    for name, container, _ in each_container():
        assert container.get("command") == (compose[SERVICES.get(name, name)].get("command"))
        assert "args" not in container


def test_each_probe_is_the_health_check_of_its_service(compose: dict[str, Any]) -> None:
    for name, container, _ in each_container():
        if name not in SERVICES:
            continue
        check = compose[SERVICES[name]]["healthcheck"]
        probes = {
            kind: container[f"{kind}Probe"]
            for kind in ("startup", "readiness", "liveness")
            if f"{kind}Probe" in container
        }
        assert len(probes) == (1 if name == "certs" else 3)
        for probe in probes.values():
            assert ["CMD", *probe["exec"]["command"]] == check["test"]
            assert f"{probe['timeoutSeconds']}s" == check["timeout"]
        assert f"{probes['startup']['periodSeconds'] * probes['startup']['failureThreshold']}s" == check["start_period"]
        if name != "certs":  # whose health is about the days that are left
            assert f"{probes['readiness']['periodSeconds']}s" == check["interval"]
            assert probes["readiness"]["failureThreshold"] == check["retries"]
            assert probes["liveness"]["failureThreshold"] > check["retries"]


def test_each_container_has_the_ports_of_its_service(compose: dict[str, Any]) -> None:
    for name, container, _ in each_container():
        published = {port["target"] for port in compose[SERVICES.get(name, name)].get("ports", [])}
        assert published <= {port["containerPort"] for port in container.get("ports", [])}
    for combination in (("nginx",), ("apache",), ("direct",)):
        published = {port["target"] for port in compose[combination[0]]["ports"]}
        (service,) = (each for each in of_kind(rendered(*combination), "Service").values() if each["spec"].get("type"))
        assert {port["port"] for port in service["spec"]["ports"]} == published


# What compose.yaml sets itself, and what is different here for a reason.
NOT_HERE = {
    "EXPIRY_FILE": "the certificate is in another pod",
    "TRUSTED_PROXIES": "a setting here",
    "CERTS_DIR": "the Secret",
    "HUB_PASSWORD_FILE": "without a hub there is no Secret",
    "REVOKED_FILE": "CLIENT_CRL is not offered here",
}


def test_each_container_has_the_variables_that_compose_sets_itself(compose: dict[str, Any]) -> None:
    found: set[str] = set()
    for name, container, _ in each_container():
        if name not in SERVICES:
            continue
        text = (REPOSITORY / "compose.yaml").read_text()
        fixed = {
            key: value
            for key, value in compose[SERVICES[name]]["environment"].items()
            if value and re.search(rf"^ +{key}: (&\S+ )?[^$ &*]", text, re.MULTILINE) and key not in NOT_HERE
        }
        given = {each["name"]: each.get("value") for each in container.get("env", [])}
        assert fixed.items() <= given.items(), name
        found |= fixed.keys()
    assert found == {"REPLICAS", "TLS_DIR", "PAGE"}


def test_all_containers_of_the_stack_have_the_same_settings() -> None:
    for name, container, _ in each_container():
        sources = [each for each in container.get("envFrom", []) if "configMapRef" in each]
        assert len(sources) == (name != "hub"), name


def test_the_operators_settings_reach_the_containers() -> None:
    manifests = render(
        "nginx", configMapGenerator=[{"name": "settings", "behavior": "merge", "literals": ["DOMAIN=example.com"]}]
    )
    assert settings(manifests)["DOMAIN"] == "example.com"
    names = {each for each in of_kind(manifests, "ConfigMap") if each.startswith("settings-")}
    for pod in pods(manifests).values():
        for container in containers(pod):
            assert {each["configMapRef"]["name"] for each in container["envFrom"] if "configMapRef" in each} == names


def test_what_is_writable_and_mounted_is_the_same(compose: dict[str, Any]) -> None:
    for name, container, pod in each_container():
        if name not in SERVICES:
            continue
        service = compose[SERVICES[name]]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
        passing = {path.partition(":")[0] for path in service["tmpfs"]}
        for path in passing:
            assert volumes[mounts[path]["name"]]["emptyDir"] == {"medium": "Memory"}
        kept = {
            each["target"]: each.get("read_only", False) for each in service["volumes"] if each["target"] != "/certs"
        }
        if name == "backend":  # the certificate's end is in the pods of the proxies
            del kept["/expiry"]
        if name == "hub":  # its password is a Secret
            kept = dict.fromkeys(kept, True)
        assert {path: each.get("readOnly", False) for path, each in mounts.items()} == {
            **dict.fromkeys(passing, False),
            **kept,
            **({"/certs": True} if name == "certs" else {}),
        }


def test_sysctls_are_the_same_and_that_of_docker(compose: dict[str, Any]) -> None:
    for name, _, pod in each_container():
        if name == "proxy":
            given = {each["name"]: each["value"] for each in pod["securityContext"]["sysctls"]}
            assert given == {**compose["nginx"]["sysctls"], "net.ipv4.ip_unprivileged_port_start": "0"}


def test_memory_limits_are_those_of_swarm() -> None:
    swarm = (REPOSITORY / "deploy" / "swarm.yaml").read_text()
    for name, limit in {
        "proxy": "PROXY_MEMORY:-2g",
        "backend": "BACKEND_MEMORY:-2g",
        "hub": "HUB_MEMORY:-512m",
    }.items():
        assert limit in swarm
        wanted = re.sub(r"[gm]$", lambda unit: f"{unit[0].upper()}i", limit.partition("-")[2])
        for found, container, _ in each_container():
            if found == name:
                assert container["resources"]["limits"] == {"memory": wanted}


def test_what_the_certificate_service_needs_without_root_is_given() -> None:
    """The containers of a pod share one user: the pair stays its own."""
    for name, _, pod in each_container():
        if name == "certs":
            assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 10001
            (secret,) = (each["secret"] for each in pod["volumes"] if each["name"] == "certificate")
            assert secret["defaultMode"] == 0o440
            assert pod["initContainers"][0]["name"] == "certs"
            assert pod["initContainers"][0]["restartPolicy"] == "Always"
