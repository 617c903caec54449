"""monitoring.yaml: its services may do as little as those of compose.yaml, and it fits the other overlays."""

import json
import re
import subprocess
from typing import Any

import pytest
from server import REPOSITORY

ADDED = ("prometheus", "nginx-exporter", "apache-exporter", "hub-exporter", "alertmanager")


def services(*files: str) -> dict[str, Any]:
    command = ["docker", "compose", "--env-file=/dev/null", *(f"--file={file}" for file in files), "--profile=*"]
    done = subprocess.run([*command, "config", "--format=json"], cwd=REPOSITORY, capture_output=True, check=True)
    return dict(json.loads(done.stdout)["services"])


@pytest.fixture(scope="module")
def monitored() -> dict[str, Any]:
    return services("compose.yaml", "monitoring.yaml")


def test_it_adds_these_services(monitored: dict[str, Any]) -> None:
    assert set(monitored) - set(services("compose.yaml")) == {*ADDED}


@pytest.mark.parametrize("name", ADDED)
def test_what_a_container_may_is_the_same_as_for_the_hub(monitored: dict[str, Any], name: str) -> None:
    service, hub = monitored[name], monitored["hub"]
    for key in ("read_only", "cap_add", "cap_drop", "security_opt", "logging", "stop_grace_period", "user"):
        assert service.get(key) == hub.get(key), key
    assert {**service["healthcheck"], "test": ""} == {**hub["healthcheck"], "test": ""}
    # Two of them write, into a volume, and only Prometheus' port is published: on loopback.
    writable = [mount["target"] for mount in service.get("volumes", ()) if not mount.get("read_only")]
    assert writable == (["/data"] if name in {"prometheus", "alertmanager"} else [])
    ports = [(port["host_ip"], port["published"]) for port in service.get("ports", ())]
    assert ports == ([("127.0.0.1", "9090")] if name == "prometheus" else [])


@pytest.mark.parametrize("overlay", ["acme.yaml", "balancer.yaml", "upstream.yaml"])
def test_other_overlays_combine_with_it_and_keep_what_they_set(overlay: str) -> None:
    alone, together = services("compose.yaml", overlay), services("compose.yaml", "monitoring.yaml", overlay)
    for name in ("nginx", "apache"):
        environment = {**together[name]["environment"]}
        assert environment.pop("MONITORED") == "on"
        assert environment == alone[name]["environment"]
        assert together[name]["networks"] == alone[name]["networks"]
    assert together["prometheus"]["networks"].keys() == {"edge", "inner"}


def test_the_dashboard_of_grafana_has_the_panels_of_the_page() -> None:
    page = (REPOSITORY / "monitoring" / "consoles" / "index.html").read_text()
    (found,) = re.findall(r'id="panels">(.*?)</script>', page, re.DOTALL)
    panels = json.loads(found)
    expected = [(tile["title"], [tile["expr"]]) for tile in panels["tiles"]]
    expected += [(chart["title"], [query["expr"] for query in chart["queries"]]) for chart in panels["charts"]]
    dashboard = json.loads((REPOSITORY / "deploy" / "grafana" / "dashboard.json").read_text())
    shown = [
        (panel["title"], [target["expr"].replace("$__rate_interval", "WINDOW") for target in panel["targets"]])
        for panel in dashboard["panels"]
    ]
    assert shown == expected
