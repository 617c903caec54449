"""The timeouts of a stop are nested: each is longer than those that it waits for (docs/architecture.md)."""

import json
import os
import re
import subprocess

import pytest
from server import REPOSITORY
from wss.config import parsers
from wss.connection.connection import CLOSE_TIMEOUT
from wss.process.supervisor import STOP_TIMEOUT
from wss.process.worker import DRAIN_TIMEOUT


def in_file(name: str, pattern: str) -> float:
    (seconds,) = set(re.findall(pattern, (REPOSITORY / name).read_text(), re.MULTILINE))
    return float(seconds)


def test_each_timeout_of_a_stop_is_longer_than_the_one_inside_it() -> None:
    proxy = in_file("proxy/start", r"sleep \$drain (\d+); kill -TERM")
    containers = {
        in_file("compose.yaml", r"stop_grace_period: (?:\$\{STOP_DRAIN:-\})?(\d+)s"),
        in_file("deploy/swarm.yaml", r"stop_grace_period: (?:\$\{STOP_DRAIN:-\})?(\d+)s"),
    }
    assert len(containers) == 1
    order = [CLOSE_TIMEOUT, DRAIN_TIMEOUT, proxy, STOP_TIMEOUT, *containers]
    assert order == sorted(set(order)), order
    # httpd's children may take up to 10 s more.
    assert max(containers) > proxy + 10


@pytest.mark.parametrize("file", ["compose.yaml", "deploy/swarm.yaml"])
@pytest.mark.parametrize("drain", ["", "0", "90s", "30m", "12h"])
def test_a_container_of_clients_has_the_drain_and_as_much_as_without(file: str, drain: str) -> None:
    command = ["docker", "compose", "--env-file=/dev/null", f"--file={file}", "--profile=*", "config", "--format=json"]
    environment = {**os.environ, "STOP_DRAIN": drain}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, check=True)
    services = json.loads(done.stdout)["services"]
    of_clients = services.keys() & {"nginx", "apache", "direct", "proxy", "backend"}
    seconds = {name: in_seconds(service["stop_grace_period"]) for name, service in services.items()}
    assert {seconds[name] for name in of_clients} == {parsers.drain(drain or "0") + seconds["hub"]}
    assert seconds["hub"] == seconds["certs"] == 30


def in_seconds(duration: str) -> int:
    parts = re.findall(r"(\d+)([hms])", duration)
    return sum(int(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in parts)


def test_a_drain_is_over_before_nginx_ends_connections_itself() -> None:
    assert in_file("nginx/nginx.conf", r"worker_shutdown_timeout (\d+)h;") * 3600 > parsers.MAX_DRAIN + 12


def test_the_longest_spread_and_an_unanswered_close_fit_into_a_drain() -> None:
    longest = 5.0
    assert parsers.spread(f"{longest:g}") + CLOSE_TIMEOUT <= DRAIN_TIMEOUT
    with pytest.raises(ValueError, match="0 to 5 seconds"):
        parsers.spread("5.1")
