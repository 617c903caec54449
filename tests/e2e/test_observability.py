"""What an operator sees without a debugger: `status`, and the metrics."""

import json

from client import Target
from eventually import eventually
from fixtures import Connect
from stack import Stack

READ_METRICS = """
import urllib.request
print(urllib.request.urlopen("http://localhost:8283/metrics", timeout=5).read().decode())
"""


def test_status_tells_workers_and_connections(stack: Stack, target: Target, connect: Connect) -> None:
    ws = connect(target, "?app=whoami")
    ws.send("who am I?")
    seen = json.loads(ws.recv())
    shown = stack.run_in(stack.server, "status")
    workers, connections = (table.splitlines() for table in shown.split("\n\n"))
    assert workers[1].split()[:3] == ["1", str(seen["process"]), "serving"]
    assert any(line.split()[2:4] == [seen["client"], target.path] for line in connections[1:])


def test_metrics_count_a_connection(stack: Stack, target: Target, connect: Connect) -> None:
    def opened() -> float:
        lines = stack.run_in(stack.server, "python", "-c", READ_METRICS).splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("wss_connections_opened_total "))

    before = opened()
    connect(target)
    eventually(lambda: opened() == before + 1, 5, "one more connection is counted")
