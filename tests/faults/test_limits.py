"""A proxy's limit of websockets: one more is refused at once with a log line, and open websockets and the page work."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from client import UPGRADE, http_request, target_of
from closing import SERVICE_RESTART, close_code
from eventually import eventually
from fixtures import Connect, NewStack
from time_limit import time_limit

pytestmark = pytest.mark.profiles("nginx", "apache")

LOGGED = {"nginx": "limiting connections by zone", "apache": "mod_qos(012)"}


def test_one_websocket_over_the_limit_is_refused_and_the_page_still_works(
    profile: str, new_stack: NewStack, ca_file: Path, connect: Connect
) -> None:
    # With two replicas: for its own limit, the proxy must not try another replica.
    stack = new_stack(profile, WS_PATHS="/wss,/ws/*,/", PROXY_CONNECTIONS="3", LOG_FORMAT="json")
    stack.up("--scale=backend=2")
    target = target_of(stack, ca_file)
    # One limit for all paths.
    opened = [connect(replace(target, path=path)) for path in ("/wss", "/ws/a?b", "/ws/a%2Fb")]
    for path in ("/wss", "/wss?a", "/ws/a", "/ws/c%2Fd", "/"):
        with time_limit(2, "503"):
            refused = http_request(target, path, headers=UPGRADE)
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert "none has room" in refused.text
    assert http_request(target, path="/").status == 200
    logged = json.loads(stack.wait_for_log(profile, LOGGED[profile]))
    level, logger = {"nginx": ("warning", "nginx"), "apache": ("error", "apache2")}[profile]
    assert (logged["level"], logged["logger"]) == (level, logger)
    opened.pop().close()
    eventually(lambda: http_request(target, headers=UPGRADE).status == 101, "a client gets 101 after one has closed")
    for ws in opened:
        ws.send("tom")
        assert ws.recv() == "ok"

    # With LOG_FORMAT=json, every line of every log is JSON, until the end; and nothing delays the end.
    with ThreadPoolExecutor() as pool:
        codes = pool.map(close_code, opened)
        with time_limit(8, "the proxy ends"):
            stack.container().stop(timeout=60)
        assert {*codes} == {SERVICE_RESTART}
    lines = [line for container in stack.containers() for line in container.logs().decode().splitlines()]
    errors = [line for line in map(json.loads, lines) if "event" in line]
    assert {"certs", logger, "wss.server"} <= {line["logger"] for line in errors}
    assert all({"event", "time", "level"} <= line.keys() for line in errors)
