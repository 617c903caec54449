"""docs/operations.md, "How do I upgrade?": a clone with a user's files goes from the first release to this commit."""

import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme
import websocket
from client import target_of
from exits import Exits
from fixtures import Connect, NewStack
from load import ConnectionLoad
from pairs import write_pair
from stack import LONG_PING_TIMEOUT, REPOSITORY, UPDATE_PAUSE

pytestmark = pytest.mark.long

CLIENTS = 50
FIRST_RELEASE = "v1.0.0"

# Replies with the user's setting, and with the commit of the image that serves: empty in the old one.
HANDLER = """
import os


async def handler(connection):
    async for message in connection:
        await connection.send(f"{os.environ['GREETING']} {message} from {os.environ['WSS_REVISION']}")
"""
SETTINGS = {"APP": "handlers.shop:handler", "STOP_DRAIN": "10m", **LONG_PING_TIMEOUT}
FILES = {
    ".env": "".join(f"{name}={value}\n" for name, value in SETTINGS.items()),
    "handler.env": "GREETING=hello\n",
    "handlers/shop.py": HANDLER,
    "compose.override.yaml": "services: {backend: {labels: {example.mine: kept}}}\n",
}


def git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


@pytest.fixture
def clone(ca: trustme.CA, tmp_path: Path) -> Path:
    """A clone of the first release with a user's files; its origin has this commit."""
    # The start until that tag exists: the commit that added STOP_DRAIN, which is newer than VERSION.
    added = git(REPOSITORY, "log", "--reverse", "--format=%H", "-SSTOP_DRAIN", "--", "compose.yaml")
    first = git(REPOSITORY, "tag", "--list", FIRST_RELEASE) or added.split()[0]
    directory = tmp_path / "clone"
    git(REPOSITORY, "clone", "--quiet", "--no-checkout", str(REPOSITORY), str(directory))
    git(directory, "checkout", "--quiet", "-B", "main", first)
    for name, content in FILES.items():
        (directory / name).write_text(content)
    write_pair(ca.issue_cert("localhost"), directory / "certs" / "live")
    return directory


def reply(ws: websocket.WebSocket) -> str:
    ws.send("tom")
    return str(ws.recv())


def contents(directory: Path) -> dict[str, bytes]:
    names = (*FILES, "certs/live/server.pem", "certs/live/server.key")
    return {name: (directory / name).read_bytes() for name in names}


@pytest.mark.profiles("nginx")
def test_an_upgrade_keeps_a_users_files_and_50_websockets(
    profile: str, new_stack: NewStack, clone: Path, ca_file: Path, connect: Connect
) -> None:
    files = (clone / "compose.yaml", clone / "compose.override.yaml")
    stack = new_stack(profile, directory=clone, files=files, CERTS_DIR="")

    def compose(*arguments: str) -> str:
        outcome = stack.compose("--env-file=.env", *arguments)
        assert outcome.code == 0, f"{outcome.output}\n{stack.logs()}"
        return outcome.output

    own = contents(clone)
    compose("up", "--build", "--wait")
    (old,) = stack.containers("backend")
    target = target_of(stack, ca_file)
    clients = [connect(target) for _ in range(CLIENTS)]
    assert {reply(ws) for ws in clients} == {"hello tom from "}

    # As the user types it: git pull.
    git(clone, "pull", "--quiet", "--ff-only", "origin", "HEAD")
    commit = git(REPOSITORY, "rev-parse", "HEAD")
    assert git(clone, "rev-parse", "HEAD") == commit
    assert git(clone, "status", "--porcelain") == ""
    assert contents(clone) == own
    # An image of this commit, also if it is the first release itself.
    compose("build", "--build-arg", f"REVISION={commit}")

    # "So start the new backends first".
    compose("run", "--rm", "--no-deps", "check")
    with Exits(stack) as exits, ThreadPoolExecutor(1) as pool, ConnectionLoad(target, reply) as load:
        compose("up", "--no-recreate", "--scale", "backend=2", "--wait")
        time.sleep(UPDATE_PAUSE)  # part of the documented commands, which are tested here
        stopped = pool.submit(subprocess.run, ["docker", "stop", str(old.id)], check=True, stdout=subprocess.DEVNULL)
        stack.wait_for_log("backend", "draining")
        load.wait_for_attempts(load.attempts + 20)
        assert {reply(ws) for ws in clients} == {"hello tom from "}
        clients.append(connect(target))
        assert reply(clients[-1]) == f"hello tom from {commit}"
        assert not stopped.done()
        for ws in clients:
            ws.close()
        stopped.result()
        assert load.failures == []
        assert exits.failed([old]) == {}
    old.remove()

    # The rest. A proxy that stops waits for its clients, too: there are none now.
    compose("up", "--wait")
    labels = [container.labels for container in stack.containers("backend")]
    assert {each["example.mine"] for each in labels} == {"kept"}
    assert {each["org.opencontainers.image.revision"] for each in (*labels, stack.container().labels)} == {commit}
    version = (clone / "VERSION").read_text().strip()
    assert re.match(f"version {re.escape(version)}, revision {commit}\n", stack.read_in("backend", "status"))
    assert reply(connect(target_of(stack, ca_file))) == f"hello tom from {commit}"
    assert contents(clone) == own
