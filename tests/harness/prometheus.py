"""The Prometheus of a stack with monitoring.yaml."""

import json
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

from client import TIMEOUT
from stack import Stack


@dataclass
class Prometheus:
    """The HTTP API: https://prometheus.io/docs/prometheus/2.53/querying/api/"""

    stack: Stack

    def get(self, path: str, **parameters: str) -> Any:
        ((binding,),) = [ports for ports in self.stack.container("prometheus").ports.values() if ports]
        url = f"http://127.0.0.1:{binding['HostPort']}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            return json.load(response)["data"]

    def targets(self) -> set[tuple[str, str]]:
        return {(each["labels"]["job"], each["health"]) for each in self.get("targets")["activeTargets"]}

    def query(self, expression: str) -> list[Any]:
        return list(self.get("query", query=expression)["result"])

    def firing(self) -> set[str]:
        return {each["labels"]["alertname"] for each in self.get("alerts")["alerts"] if each["state"] == "firing"}
