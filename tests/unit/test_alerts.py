"""Each alert has a test, an entry in the documentation, and metrics that exist."""

import re
import urllib.request
from pathlib import Path

import pytest
import websocket
from eventually import eventually
from server import REPOSITORY, TIMEOUT, Connect, Start

# A file of rules is one list. tests/faults/test_monitoring.py has Prometheus parse it, and run the tests.
RULES = dict(
    re.findall(r"- alert: (\w+)\n(.*?)(?=- alert:|\Z)", (REPOSITORY / "monitoring/alerts.yml").read_text(), re.DOTALL)
)
TESTS = (REPOSITORY / "tests/harness/alerts_test.yml").read_text()
EXPORTER = (REPOSITORY / "monitoring" / "export-proxy").read_text()
# Of Prometheus itself.
BUILT_IN = {"up"}


@pytest.mark.parametrize("name", RULES)
def test_an_alert_has_a_test_that_it_fires_and_one_that_it_does_not(name: str) -> None:
    assert f"- {{alertname: {name}, eval_time: " in TESTS
    assert re.search(rf"- alertname: {name}\n +eval_time: \w+\n +exp_alerts:\n +- exp_labels", TESTS)


@pytest.mark.parametrize("name", RULES)
def test_an_alert_links_to_its_own_entry_and_the_pages_list_it(name: str) -> None:
    (link,) = re.findall(r"runbook_url: (\S+)", RULES[name])
    page, _, anchor = link.partition("#")
    assert anchor == name.lower()
    assert (REPOSITORY / page).read_text().count(f"\n### {name}\n") == 1
    assert f"| [{name}](troubleshooting.md#{anchor}) |" in (REPOSITORY / "docs" / "monitoring.md").read_text()


def test_alerts_use_metrics_that_the_backend_or_the_exporter_has(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    for file in ("expiry", "failing"):
        (tmp_path / file).write_text("0\n")
    server = start(EXPIRY_FILE=str(tmp_path / "expiry"))
    connect(server).close()
    with pytest.raises(websocket.WebSocketBadStatusException):
        connect(server, path="/nowhere")
    only_with_a_hub = {"wss_hub_up"}
    of_exporter = set(re.findall(r'"(wss_proxy_\w+)"', EXPORTER))
    used = set().union(*map(names_in, RULES.values()))
    elsewhere = of_exporter | {f"{name}_total" for name in of_exporter} | only_with_a_hub | BUILT_IN

    def missing() -> set[str]:
        with urllib.request.urlopen(f"http://localhost:{server.metrics_port}/metrics", timeout=TIMEOUT) as response:
            lines = response.read().decode().splitlines()
        return used - elsewhere - {re.split("[{ ]", line)[0] for line in lines}

    eventually(lambda: missing() == set(), "all metrics exist")


def names_in(rule: str) -> set[str]:
    """Return the names of metrics in the expression of a rule."""
    expression = rule.partition("labels: {severity")[0]
    return set(re.findall(r"\b(?:wss_\w+|up)\b", expression))
