"""Modules as people have them: they log, fork, import modules beside them, and are edited while they serve."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from eventually import eventually
from server import BACKEND, Server, Start, failed_start
from websockets.sync.client import connect as connect_client
from wss.config.environment import SettingError
from wss.process import app_loader


def write(directory: Path, **modules: str) -> str:
    """Write modules (`package/module` is one of a package); return the PYTHONPATH that finds them."""
    for name, source in modules.items():
        file = directory / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(source)
    return f"{BACKEND}{os.pathsep}{directory}"


def test_what_a_handler_logs_has_the_id_of_its_connection(start: Start, tmp_path: Path) -> None:
    source = (
        "import logging\nlog = logging.getLogger(__name__)\n\n\n"
        "async def handler(connection):\n    log.info('hello')\n    log.debug('too much')\n"
        "    await connection.send(str(connection.id))\n"
    )
    server = start(APP="logs:handler", PYTHONPATH=write(tmp_path, logs=source))
    with connect_client(f"ws://localhost:{server.port}/wss", proxy=None, open_timeout=60) as client:
        id_ = client.recv(timeout=60)
    server.wait_for('("event": "hello")')
    (line,) = [json.loads(line) for line in server.lines if '"hello"' in line]
    assert (line["id"], line["logger"], line["level"]) == (id_, "logs", "info")
    assert not any("too much" in line for line in server.lines)


def test_log_level_is_a_setting(start: Start, tmp_path: Path) -> None:
    source = "import logging\n\n\nasync def handler(connection):\n    logging.getLogger(__name__).debug('details')\n"
    server = start(APP="logs:handler", PYTHONPATH=write(tmp_path, logs=source), LOG_LEVEL="debug")
    with connect_client(f"ws://localhost:{server.port}/wss", proxy=None, open_timeout=60):
        pass
    server.wait_for('("event": "details")')


def test_a_client_that_leaves_ends_a_task_group_without_an_error(start: Start, tmp_path: Path) -> None:
    source = (
        "import asyncio\n\n\nasync def handler(connection):\n    async with asyncio.TaskGroup() as group:\n"
        "        group.create_task(connection.recv())\n        group.create_task(asyncio.sleep(600))\n"
    )
    server = start(APP="grouped:handler", PYTHONPATH=write(tmp_path, grouped=source))
    with connect_client(f"ws://localhost:{server.port}/wss", proxy=None, open_timeout=60) as client:
        client.close(4000)
    server.wait_for('("event": "closed")')
    assert server.stop() == 0
    assert not any("failed" in line for line in server.lines)


@pytest.fixture(scope="module")
def raising(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose handler raises what its client sends."""
    source = "async def handler(connection):\n    raise eval(await connection.recv())\n"
    server = Server(APP="odd:handler", PYTHONPATH=write(tmp_path_factory.mktemp("odd"), odd=source))
    yield server
    assert server.stop() == 0
    server.close()


@pytest.mark.parametrize(
    "raised",
    ["BaseException('odd')", "KeyboardInterrupt()", "GeneratorExit()", "BaseExceptionGroup('two', [SystemExit(1)])"],
)
def test_a_handler_that_raises_anything_closes_with_1011(raising: Server, raised: str) -> None:
    with connect_client(f"ws://localhost:{raising.port}/wss", proxy=None, open_timeout=60) as client:
        client.send(raised)
        with pytest.raises(Exception, match="1011"):
            client.recv(timeout=60)


def test_relative_imports_and_imports_of_neighbours_work(start: Start, tmp_path: Path) -> None:
    modules = {
        "chatapp/__init__": "",
        "chatapp/names": "NAME = 'relative'\n",
        "chatapp/neighbour": "NAME = 'neighbour'\n",
        "chatapp/main": "import neighbour\nfrom .names import NAME\n\n\n"
        "async def handler(connection):\n    await connection.send(f'{NAME} {neighbour.NAME}')\n",
    }
    server = start(APP="chatapp.main:handler", PYTHONPATH=write(tmp_path, **modules))
    with connect_client(f"ws://localhost:{server.port}/wss", proxy=None, open_timeout=60) as client:
        assert client.recv(timeout=60) == "relative neighbour"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("import os\n\nKEY = os.environ['API_KEY']\n", r"KeyError: 'API_KEY' ({directory}/needy.py, line 3)"),
        ("import json\n\njson.loads('{')\n", r"{directory}/needy.py, line 3"),
        ("import no_such_package\n", "List the package of 'no_such_package' in handlers/requirements.txt"),
        ("import sys\n\nsys.exit('bye')\n", "SystemExit: bye"),
    ],
)
def test_an_error_at_import_names_the_users_line(tmp_path: Path, source: str, line: str) -> None:
    path = write(tmp_path, needy=source)
    assert line.replace("{directory}", str(tmp_path)) in failed_start(APP="needy:handler", PYTHONPATH=path)


def test_a_module_that_starts_a_loop_is_named_after_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, loops="import time\n\nwhile True:\n    time.sleep(1)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(app_loader, "IMPORT_TIMEOUT", 1)
    with pytest.raises(SettingError, match=r"it takes over 1 s\. If it starts a server or a loop"):
        app_loader.load_application("loops:handler")


def test_a_forked_child_keeps_no_connection_open(start: Start, tmp_path: Path) -> None:
    source = (
        "import os, time\n\n\nasync def handler(connection):\n"
        "    child = os.fork()\n"
        "    if not child:\n        time.sleep(600)\n        os._exit(0)\n"
        "    await connection.send(str(child))\n"
        "    await connection.recv()\n"
    )
    server = start(APP="forks:handler", PYTHONPATH=write(tmp_path, forks=source))
    with connect_client(f"ws://localhost:{server.port}/wss", proxy=None, open_timeout=60) as client:
        child = int(client.recv(timeout=60))
        # The listening socket, and the client's.
        eventually(lambda: sockets_of(server.worker()) - sockets_of(child) == 2, "the child has closed both")
        os.kill(child, signal.SIGKILL)


def sockets_of(process: int) -> int:
    return sum(str(link.readlink()).startswith("socket:") for link in Path(f"/proc/{process}/fd").iterdir())


def test_a_process_pool_works(start: Start, tmp_path: Path) -> None:
    source = (
        "import asyncio\nfrom concurrent.futures import ProcessPoolExecutor\nfrom math import factorial\n\n"
        "POOL = ProcessPoolExecutor(1)\n\n\nasync def handler(connection):\n"
        "    result = await asyncio.get_running_loop().run_in_executor(POOL, factorial, 5)\n"
        "    await connection.send(str(result))\n"
    )
    server = start(APP="pooled:handler", PYTHONPATH=write(tmp_path, pooled=source))
    with connect_client(f"ws://localhost:{server.port}/wss", proxy=None, open_timeout=60) as client:
        assert client.recv(timeout=60) == "120"


def test_a_change_is_served_without_losing_the_port(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited = "async def handler(connection):\n    await connection.send('two')\n"
    path = write(tmp_path, edited=edited.replace("two", "one"))
    monkeypatch.setattr("server.DIRECTORY", tmp_path)
    server = start(APP="edited:handler", PYTHONPATH=path, RELOAD="on")

    def reply() -> str:
        with connect_client(f"ws://localhost:{server.port}/wss", proxy=None, open_timeout=60) as client:
            return str(client.recv(timeout=60))

    assert reply() == "one"
    (tmp_path / "edited.py").write_text("async def handler(:\n")
    server.wait_for("(no new worker could start)")
    assert reply() == "one"
    (tmp_path / "edited.py").write_text(edited)
    eventually(lambda: reply() == "two", "the new handler replies")
