"""Reload of a proxy: open websockets stay open, and every connect during a reload succeeds."""

import re
from pathlib import Path

import pytest
import websocket
from client import target_of
from eventually import eventually
from fixtures import Connect, NewStack
from load import ConnectionLoad
from stack import LONG_PING_TIMEOUT, REPOSITORY

pytestmark = pytest.mark.profiles("nginx", "apache")

RELOADS = 10


def _works(ws: websocket.WebSocket) -> bool:
    ws.send("tom")
    return bool(ws.recv() == "ok")


def test_ten_reloads_close_no_websocket_and_fail_no_connect(
    profile: str, new_stack: NewStack, ca_file: Path, connect: Connect
) -> None:
    stack = new_stack(profile, **LONG_PING_TIMEOUT)
    stack.up()
    target = target_of(stack, ca_file)
    opened = [connect(target) for _ in range(5)]
    with ConnectionLoad(target) as load:
        for _ in range(RELOADS):
            before = load.attempts
            stack.run_in(profile, "reload")
            opened.append(connect(target))
            load.wait_for_attempts(before + 10)
    assert load.failures == []
    assert all(map(_works, opened))


OVERRIDE = """
services:
  apache:
    volumes: ["{config}:/etc/apache2/httpd.conf:ro"]
"""


@pytest.mark.profiles("apache")
def test_a_reload_is_refused_if_old_processes_hold_too_many_slots(
    profile: str, new_stack: NewStack, ca_file: Path, connect: Connect, tmp_path: Path
) -> None:
    config, override = tmp_path / "httpd.conf", tmp_path / "low-limit.yaml"
    shipped = (REPOSITORY / "apache" / "httpd.conf").read_text()
    include = "Include /run/rendered.conf\n"
    assert include in shipped
    config.write_text(shipped.replace(include, f"{include}Define SERVER_LIMIT 24\n"))  # 22 are needed for new clients
    override.write_text(OVERRIDE.format(config=config))
    stack = new_stack(profile, files=(REPOSITORY / "compose.yaml", override), **LONG_PING_TIMEOUT)
    stack.up()
    target = target_of(stack, ca_file)
    opened = [connect(target) for _ in range(10)]
    stack.run_in(profile, "reload")
    eventually(
        lambda: "resuming normal operations" in stack.logs(profile).partition("graceful restart")[2], "httpd reloads"
    )
    opened.append(connect(target))

    def refusal() -> bytes | None:
        # httpd starts its processes one by one; how many of them get a websocket varies.
        done = stack.container().exec_run(["reload"])
        assert isinstance(done.output, bytes)
        return done.output if done.exit_code else None

    refused = eventually(refusal, "a reload is refused")
    assert re.fullmatch(rb"not reloaded: \d+ processes still have websockets, .*\n", refused)
    assert all(map(_works, [*opened, connect(target)]))
