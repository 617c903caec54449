"""A reload of a proxy: open websockets stay open, and every connect that is tried meanwhile succeeds."""

import re
from pathlib import Path

import pytest
import websocket
from client import target_of
from eventually import eventually
from fixtures import Connect, NewStack
from load import Steady
from stack import LONG_PING_TIMEOUT, REPOSITORY

pytestmark = pytest.mark.profiles("nginx", "apache")

RELOADS = 10


def _works(ws: websocket.WebSocket) -> bool:
    ws.send("tom")
    return bool(ws.recv() == "ok")


def test_ten_reloads_lose_nobody(profile: str, new_stack: NewStack, ca_file: Path, connect: Connect) -> None:
    stack = new_stack(profile, **LONG_PING_TIMEOUT)
    stack.up()
    target = target_of(stack, ca_file)
    opened = [connect(target) for _ in range(5)]
    with Steady(target) as steady:
        for _ in range(RELOADS):
            before = steady.count
            stack.run_in(profile, "reload")
            opened.append(connect(target))
            steady.wait_for(before + 10)
    assert steady.failures == []
    assert all(map(_works, opened))


LITTLE_ROOM = """
services:
  apache:
    volumes: ["{config}:/etc/apache2/httpd.conf:ro"]
"""


@pytest.mark.profiles("apache")
def test_the_reload_that_would_leave_no_room_is_refused(
    profile: str, new_stack: NewStack, ca_file: Path, connect: Connect, tmp_path: Path
) -> None:
    config, override = tmp_path / "httpd.conf", tmp_path / "little-room.yaml"
    shipped = (REPOSITORY / "apache" / "httpd.conf").read_text()
    config.write_text(re.sub(r"(?m)^ServerLimit .*", "ServerLimit 24", shipped))  # 22 are needed for new clients
    override.write_text(LITTLE_ROOM.format(config=config))
    stack = new_stack(profile, files=(REPOSITORY / "compose.yaml", override), **LONG_PING_TIMEOUT)
    stack.up()
    target = target_of(stack, ca_file)
    opened = [connect(target) for _ in range(10)]
    stack.run_in(profile, "reload")
    eventually(
        lambda: "resuming normal operations" in stack.logs(profile).partition("graceful restart")[2], "it reloads"
    )
    opened.append(connect(target))

    def refusal() -> bytes | None:
        # httpd starts processes one after the other, and chance decides how many of them have a websocket.
        done = stack.container().exec_run(["reload"])
        assert isinstance(done.output, bytes)
        return done.output if done.exit_code else None

    refused = eventually(refusal, "a reload is refused")
    assert re.fullmatch(rb"not reloaded: \d+ processes still have websockets, .*\n", refused)
    assert all(map(_works, [*opened, connect(target)]))
