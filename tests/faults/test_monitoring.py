"""monitoring.yaml: Prometheus finds everything by itself; alerts fire while there is a fault, and clear after it."""

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import docker
import pytest
import trustme
import websocket
from alert_faults import Faults
from browser import chromium, console_errors, visit
from client import Target, http_request, target_of
from eventually import eventually
from fixtures import Connect, NewStack
from pairs import write_pair
from playwright.sync_api import Browser, Playwright, expect
from prometheus import Prometheus
from stack import PROBE, REPOSITORY, Stack, pause

pytestmark = pytest.mark.long

MONITORING = REPOSITORY / "monitoring"
RULE_TESTS = REPOSITORY / "tests" / "harness" / "alerts_test.yml"
ALERTS = re.findall(r"- alert: (\w+)", (MONITORING / "alerts.yml").read_text())
CONFIGURATION = ("prometheus.yml", "alerts.yml", "alertmanager.yml")
# MAX_CONNECTIONS and PROXY_CONNECTIONS, of which the test opens so many.
MAX, OPEN = 20, 17
# Of a worker, which needs 30 for itself: nearly all with its connections.
OPEN_FILES = 50

# The second column of the first worker's row.
KILL_WORKER = "read -r _ process _ < <(status | grep '^1 '); kill -KILL $process"
# With rooms, so that it needs the hub.
HANDLER = "import wss.rooms\nfrom apps.probe import handler\n"

# Prints the alerts that it gets.
RECEIVER = """
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def do_POST(self):
        print(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(200)
        self.end_headers()

HTTPServer(("", 8080), Handler).serve_forever()
"""


def shortened(text: str) -> str:
    """Return a configuration of Prometheus with short times: intervals and `for` of a second; a minute is a second.

    The limits of lines and requests per second are lower: a busy machine does not get to those of production.
    """
    text = re.sub(r"> 100\n", "> 10\n", text)
    text = re.sub(r"((?:_interval|_wait|for): )\d+[smh]", r"\g<1>1s", text)
    return re.sub(r"\[(\d+)m\]", _seconds, text)


def _seconds(window: re.Match[str]) -> str:
    return f"[{max(int(window[1]), 5)}s]"


@pytest.fixture(scope="module")
def certs_dir(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("monitored")
    write_pair(ca.issue_cert("localhost"), directory)
    return directory


@pytest.fixture(scope="module")
def monitored(new_shared_stack: NewStack, certs_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """nginx with a hub, Prometheus and Alertmanager, all with short times, and what receives the alerts."""
    short = tmp_path_factory.mktemp("short")
    for name in CONFIGURATION:
        (short / name).write_text(shortened((MONITORING / name).read_text()))
    (short / "monitored.py").write_text(HANDLER)
    handler = f'["{short}/monitored.py:/app/apps/monitored.py:ro"]'
    configuration = ", ".join(f'"{short}/{name}:/etc/wss/{name}:ro"' for name in CONFIGURATION)
    overlay = short / "compose.yaml"
    overlay.write_text(
        "services:\n"
        f"  check: {{volumes: {handler}}}\n"
        f"  backend: {{volumes: {handler}, ulimits: {{nofile: {OPEN_FILES}}}}}\n"
        f"  prometheus: {{volumes: [{configuration}]}}\n"
        f"  alertmanager: {{profiles: !override [nginx], volumes: [{configuration}]}}\n"
        "  receiver:\n"
        "    profiles: [nginx]\n"
        "    image: ${IMAGES}-monitoring\n"
        f"    command: [python3, -uc, {json.dumps(RECEIVER)}]\n"
        "    init: true\n"
        "    healthcheck: {test: [CMD, healthy, '8080', /], start_period: 30s, start_interval: 500ms}\n"
        "    networks: [edge]\n"
    )
    stack = new_shared_stack(
        "nginx",
        files=(*PROBE, REPOSITORY / "monitoring.yaml", overlay),
        APP="apps.monitored:handler",
        CERTS_DIR=str(certs_dir),
        HUB="valkey://hub",
        ORIGINS="https://app.example",
        MAX_CONNECTIONS=str(MAX),
        PROXY_CONNECTIONS=str(MAX),
        PROMETHEUS_PORT="127.0.0.1:0",
        ALERT_WEBHOOK="http://receiver:8080/",
    )
    stack.up()
    return stack


@pytest.fixture
def prometheus(monitored: Stack) -> Prometheus:
    return Prometheus(monitored)


def test_promtool_accepts_the_configuration_and_the_tests_of_the_rules(
    monitored: Stack, engine: docker.DockerClient
) -> None:
    commands = (
        "amtool check-config /etc/wss/alertmanager.yml",
        "promtool check config /etc/wss/prometheus.yml",
        "promtool test rules /alerts_test.yml",
    )
    output = engine.containers.run(
        monitored.image("monitoring"),
        ["sh", "-euc", "; ".join(commands)],
        volumes={str(RULE_TESTS): {"bind": "/alerts_test.yml", "mode": "ro"}},
        remove=True,
        **monitored.beside,
    ).decode()
    assert f"{len(ALERTS)} rules found" in output


def test_prometheus_finds_backend_proxy_and_hub_by_itself(prometheus: Prometheus) -> None:
    expected = {(job, "up") for job in ("backend", "proxy", "hub", "prometheus")}
    eventually(lambda: prometheus.targets() == expected, "all targets are up")


def test_the_proxy_counts_requests_by_status_and_open_websockets(
    monitored: Stack, prometheus: Prometheus, ca_file: Path, connect: Connect
) -> None:
    counts_requests(prometheus, target_of(monitored, ca_file), MAX, connect)


@pytest.fixture(scope="module")
def browser(monitored: Stack, clients: str, playwright: Playwright) -> Iterator[Browser]:
    assert clients
    with chromium(playwright, monitored, None) as browser:
        yield browser


@pytest.mark.parametrize("colour_scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280], ids=["phone", "desktop"])
def test_the_page_draws_every_chart_without_an_error(
    browser: Browser, prometheus: Prometheus, width: int, colour_scheme: Any
) -> None:
    panels = panels_of_the_page()
    eventually(lambda: prometheus.query("wss_proxy_requests_total"), "there is something to draw")
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=colour_scheme)
    errors = console_errors(page)
    visit(page, "http://prometheus:9090/consoles/index.html")
    expect(page.locator("#tiles b")).to_have_count(len(panels["tiles"]))
    expect(page.locator("#charts svg")).to_have_count(len(panels["charts"]))
    expect(page.locator("#alerts li")).not_to_have_count(0)
    expect(page.locator("#charts section", has_text="Memory of the workers").locator("path")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "no horizontal scrolling"
    assert errors == []
    if directory := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(directory) / f"monitoring-{width}-{colour_scheme}.png", full_page=True)
    page.close()


def test_prometheus_evaluates_each_expression_of_the_page(
    monitored: Stack, prometheus: Prometheus, ca_file: Path, connect: Connect
) -> None:
    connect(target_of(monitored, ca_file), origin="https://app.example", suppress_origin=False).close()
    panels = panels_of_the_page()
    expressions = [tile["expr"] for tile in panels["tiles"]]
    expressions += [query["expr"].replace("WINDOW", "1m") for chart in panels["charts"] for query in chart["queries"]]
    names = {name for each in expressions for name in re.findall(r"\bwss_\w+", each)}
    only_after_an_event = {"wss_connections_refused_total", "wss_hub_messages_total"}

    def missing() -> set[str]:
        return names - only_after_an_event - set(prometheus.get("label/__name__/values"))

    eventually(lambda: missing() == set(), "all metrics exist")
    for expression in expressions:
        prometheus.query(expression)  # an HTTPError if it is not valid


def panels_of_the_page() -> dict[str, Any]:
    page = (MONITORING / "consoles" / "index.html").read_text()
    (panels,) = re.findall(r'<script type="application/json" id="panels">(.*?)</script>', page, re.DOTALL)
    return dict(json.loads(panels))


def test_apache_counts_the_same_also_websockets_that_a_reload_leaves_open(
    new_stack: NewStack, ca_file: Path, connect: Connect
) -> None:
    files = (REPOSITORY / "compose.yaml", REPOSITORY / "monitoring.yaml")
    stack = new_stack("apache", files=files, PROXY_CONNECTIONS="3", PROMETHEUS_PORT="127.0.0.1:0")
    stack.up()
    counts_requests(Prometheus(stack), target_of(stack, ca_file), 3, connect, lambda: stack.run_in("apache", "reload"))


def test_in_direct_there_is_a_backend_and_no_proxy(new_stack: NewStack, ca_file: Path, connect: Connect) -> None:
    files = (REPOSITORY / "compose.yaml", REPOSITORY / "monitoring.yaml")
    stack = new_stack("direct", files=files, PROMETHEUS_PORT="127.0.0.1:0")
    stack.up()
    prometheus = Prometheus(stack)
    expected = {("backend", "up"), ("prometheus", "up")}
    eventually(lambda: prometheus.targets() == expected, "both targets are up")
    ws = connect(target_of(stack, ca_file))
    eventually(lambda: prometheus.query("wss_connections_open == 1"), "the websocket is counted")
    ws.close()
    eventually(lambda: prometheus.firing() == set(), "no alert fires, although there is no proxy")


def counts_requests(
    prometheus: Prometheus,
    target: Target,
    limit: int,
    connect: Connect,
    while_open: Callable[[], object] = lambda: None,
) -> None:
    """Assert that what clients do shows in the metrics of the proxy."""

    def shows(expression: str) -> None:
        eventually(lambda: prometheus.query(expression), expression)

    # Before the first request: what is sent before the exporter listens is lost.
    shows("wss_proxy_requests_limit")
    assert http_request(target, path="/").status == 200
    assert http_request(target, path="/wss").status == 426
    opened = [connect(target) for _ in range(limit)]
    shows(f"wss_proxy_requests_open == {limit}")
    with pytest.raises(websocket.WebSocketBadStatusException, match="503"):
        connect(target)
    shows("wss_proxy_limit_hits_total == 1")
    while_open()
    for ws in opened:
        ws.close()
    for status, number in (("101", limit), ("200", 1), ("426", 1), ("503", 1)):
        shows(f'wss_proxy_requests_total{{status="{status}"}} == {number}')
    assert prometheus.query("wss_proxy_lost_lines_total > 0") == []


def test_every_alert_fires_while_there_is_its_fault_and_then_clears(
    monitored: Stack, prometheus: Prometheus, ca: trustme.CA, ca_file: Path, certs_dir: Path
) -> None:
    eventually(lambda: prometheus.targets() >= {("backend", "up"), ("hub", "up")}, "the targets are up")
    eventually(lambda: prometheus.firing() == set(), "no alert fires")
    target = target_of(monitored, ca_file)
    seconds: dict[str, float] = {}

    with ExitStack() as clients, Faults(target) as faults:
        # All of them at once: they do not exclude each other.
        for _ in range(OPEN):
            clients.callback(faults.open().shutdown)
        for fault in (faults.refused, faults.cut, faults.block, faults.request_pages):
            faults.repeat(fault)
        write_pair(ca.issue_cert("elsewhere.example"), certs_dir)
        wait_for(
            prometheus,
            seconds,
            *("WssNearMaxConnections", "WssNearProxyLimit", "WssNearOpenFilesLimit", "WssRefusalsRising"),
            *("WssAbnormalCloses", "WssEventLoopBlocked", "WssCertificateRenewalFails", "WssLogVolume"),
        )
    write_pair(expiring(ca), certs_dir)
    wait_for(prometheus, seconds, "WssCertificateExpires")
    write_pair(ca.issue_cert("localhost"), certs_dir)
    eventually(lambda: prometheus.firing() == set(), "all alerts clear")

    monitored.container("hub").kill()
    wait_for(prometheus, seconds, "WssHubAway")
    monitored.container("hub").start()
    eventually(lambda: "WssHubAway" not in prometheus.firing(), "it clears")

    def kill_worker() -> bool:
        monitored.run_in("backend", "bash", "-c", KILL_WORKER)
        return "WssReplicaFlapping" in prometheus.firing()

    started = time.monotonic()
    eventually(kill_worker, "a flapping replica")
    seconds["WssReplicaFlapping"] = time.monotonic() - started
    print(f"WssReplicaFlapping fired after {seconds['WssReplicaFlapping']:.1f} s")

    exporter = monitored.container("nginx-exporter")
    pause(exporter)
    try:
        wait_for(prometheus, seconds, "WssTargetDown")
    finally:
        exporter.unpause()
    monitored.container("backend").kill()
    with Faults(target) as faults:
        faults.repeat(faults.refused)
        wait_for(prometheus, seconds, "WssNoBackendReady", "WssServiceUnavailable")
        for alert in ("WssNoBackendReady", "WssServiceUnavailable"):
            assert f"troubleshooting.md#{alert.lower()}" in monitored.wait_for_log("receiver", f'"alertname":"{alert}"')
    monitored.container("backend").start()
    eventually(lambda: prometheus.firing() == set(), "all alerts clear")
    assert set(seconds) == set(ALERTS)


def wait_for(prometheus: Prometheus, seconds: dict[str, float], *alerts: str) -> None:
    """Wait until all of these fire; record and print after how many seconds each did."""
    started = time.monotonic()

    def all_fired() -> bool:
        for alert in prometheus.firing() & {*alerts} - {*seconds}:
            seconds[alert] = time.monotonic() - started
            print(f"{alert} fired after {seconds[alert]:.1f} s")
        assert {*alerts} - {*seconds} == set()
        return True

    eventually(all_fired, f"{', '.join(alerts)} fire")


def expiring(ca: trustme.CA) -> trustme.LeafCert:
    """Return a certificate that is valid for another day."""
    return ca.issue_cert("localhost", not_after=datetime.now(UTC) + timedelta(days=1))
