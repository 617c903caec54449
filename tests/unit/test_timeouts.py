"""The timeouts of a stop are nested: each is longer than those that it waits for (docs/architecture.md)."""

import re

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
    proxy = in_file("proxy/start", r"sleep (\d+); kill -TERM")
    containers = {
        in_file("compose.yaml", r"stop_grace_period: (\d+)s"),
        in_file("deploy/swarm.yaml", r"stop_grace_period: (\d+)s"),
    }
    assert len(containers) == 1
    order = [CLOSE_TIMEOUT, DRAIN_TIMEOUT, proxy, STOP_TIMEOUT, *containers]
    assert order == sorted(set(order)), order
    # httpd's children may take up to 10 s more.
    assert max(containers) > proxy + 10


def test_the_longest_spread_and_an_unanswered_close_fit_into_a_drain() -> None:
    longest = 5.0
    assert parsers.spread(f"{longest:g}") + CLOSE_TIMEOUT <= DRAIN_TIMEOUT
    with pytest.raises(ValueError, match="0 to 5 seconds"):
        parsers.spread("5.1")
