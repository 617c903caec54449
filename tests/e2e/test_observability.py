"""The `status` command and the metrics, for operators."""

import json
import ssl
from contextlib import closing

import pytest
from client import Target, http_request
from eventually import eventually
from fixtures import Connect
from stack import REPOSITORY, Stack

VERSION = (REPOSITORY / "VERSION").read_text().strip()

READ_METRICS = """
import urllib.request
print(urllib.request.urlopen("http://localhost:8283/metrics", timeout=60).read().decode())
"""


def test_status_lists_workers_and_connections(stack: Stack, target: Target, connect: Connect) -> None:
    ws = connect(target, "?app=whoami")
    ws.send("who am I?")
    seen = json.loads(ws.recv())
    shown = stack.read_in(stack.server, "status")
    version, workers, connections = (part.splitlines() for part in shown.split("\n\n"))
    assert version == [f"version {VERSION}, revision unknown"]
    assert workers[1].split()[:3] == ["1", str(seen["process"]), "serving"]
    assert any(line.split()[2:4] == [seen["client"], target.path] for line in connections[1:])


@pytest.mark.profiles("nginx", "apache")
def test_a_proxy_reports_its_status_only_inside_the_container(stack: Stack, target: Target) -> None:
    fields = {"nginx": "Active connections: ", "apache": "BusyWorkers: "}
    assert fields[stack.profile] in stack.read_in(stack.profile, "status")
    assert http_request(target, path="/server-status").status == 404
    assert http_request(target, path="/", headers={"Host": "127.0.0.1:8080"}).status == 421


def test_every_image_has_the_version(stack: Stack) -> None:
    # Not the tags of the images: another build of the run may have taken them over. Containers have the images' labels.
    labels = {container.attrs["Config"]["Image"]: container.labels for container in stack.containers()}
    versions = {image: each.get("org.opencontainers.image.version") for image, each in labels.items()}
    assert set(versions) >= {stack.image(name) for name in (stack.server, stack.profile, "certs") if name != "direct"}
    assert set(versions.values()) == {VERSION}


def test_the_metric_has_the_version_of_the_image(stack: Stack) -> None:
    assert _metric(stack, f'wss_build_info{{revision="unknown",version="{VERSION}"}}') == 1


def test_metrics_count_a_connection(stack: Stack, target: Target, connect: Connect) -> None:
    # A worker counts each second, after it has measured the lag: until then, those of earlier tests may be missing.
    measured = _metric(stack, "wss_event_loop_lag_seconds_count")
    eventually(lambda: _metric(stack, "wss_event_loop_lag_seconds_count") >= measured + 2, "earlier ones are counted")
    before = _metric(stack, "wss_connections_opened_total")
    connect(target)
    eventually(lambda: _metric(stack, "wss_connections_opened_total") == before + 1, "the connection is counted")


def test_metrics_include_the_expiry_of_the_certificate(stack: Stack, target: Target) -> None:
    with closing(target.open_tls()) as connection:
        certificate = connection.getpeercert()
    assert certificate
    expires = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    assert _metric(stack, "wss_certificate_expiry_timestamp_seconds") == expires


def _metric(stack: Stack, name: str) -> float:
    lines = stack.read_in(stack.server, "python", "-c", READ_METRICS).splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))
