"""An invalid setting stops the stack before any server starts, with one line that names the cause."""

from dataclasses import replace
from pathlib import Path

import pytest
from docker.errors import ContainerError
from fixtures import NewStack
from images import Outcome
from ports import free_port
from stack import REPOSITORY


def _error(outcome: Outcome) -> str:
    """Return the only line with an error in the output of a container."""
    lines = [line for line in outcome.output.splitlines() if "| error: " in line]
    assert len(lines) == 1, outcome.output
    return lines[0]


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"APP": "apps.nope:handler"}, "error: APP='apps.nope:handler': there is no module 'apps.nope'"),
        ({"WORKERS": "many"}, "error: WORKERS='many': not a number of processes"),
        ({"ORIGINS": "localhost"}, "error: ORIGINS='localhost': 'localhost' is not an origin"),
        ({"DOMAIN": "localhost:443"}, "error: DOMAIN='localhost:443': 'localhost:443' is not a host name"),
    ],
    ids=["APP", "WORKERS", "ORIGINS", "DOMAIN"],
)
@pytest.mark.profiles("apache")
def test_a_bad_setting_stops_the_start(profile: str, new_stack: NewStack, settings: dict[str, str], error: str) -> None:
    stack = new_stack(profile, overlays=(), **settings)
    outcome = stack.start()
    assert outcome.code != 0
    assert error in _error(outcome)
    assert all(container.status != "running" for container in stack.containers())


@pytest.mark.parametrize("overlay", ["", "upstream.yaml"])
@pytest.mark.profiles("nginx")
def test_a_name_in_the_env_file_that_resembles_a_setting_stops_the_start(
    profile: str, new_stack: NewStack, tmp_path: Path, overlay: str
) -> None:
    (tmp_path / ".env").write_text("ORIGIN=https://example.com\nPYTHONPATH=/nowhere\nPATH=/nowhere\nMINE='1 $$ 2'\n")
    (tmp_path / "handler.env").write_text("WORKER=a name of the user's handler\n")
    files = tuple(REPOSITORY / name for name in ("compose.yaml", overlay) if name)
    stack = new_stack(profile, files=files, overlays=(), **({"UPSTREAM": "app:9000"} if overlay else {}))
    stack.build()
    outcome = stack.compose(f"--project-directory={tmp_path}", "up", "--no-build")
    assert outcome.code != 0
    assert "error: .env: not a setting: ORIGIN (did you mean ORIGINS?). Correct the name, or" in _error(outcome)
    assert all(container.status != "running" for container in stack.containers())

    (tmp_path / ".env").write_text("ORIGINS=https://example.com\nMINE=1\n")
    for service in ("names", "check"):
        corrected = stack.compose(f"--project-directory={tmp_path}", "run", "--rm", service)
        assert corrected.code == 0, corrected.output


@pytest.mark.profiles("nginx")
def test_a_missing_certs_dir_is_named(profile: str, new_stack: NewStack) -> None:
    stack = new_stack(profile, CERTS_DIR="/no/such/directory")
    outcome = stack.start()
    assert outcome.code != 0
    assert "bind source path does not exist: /no/such/directory" in outcome.output


@pytest.mark.profiles("nginx")
def test_two_profiles_cannot_use_the_same_port(profile: str, new_stack: NewStack) -> None:
    stack = new_stack(profile, HTTPS_PORT=f"127.0.0.1:{free_port()}")
    for each in ("nginx", "apache"):
        replace(stack, profile=each).build()
    outcome = stack.compose("--profile", "apache", "up", "--no-build", "--wait")
    assert outcome.code != 0
    assert "port is already allocated" in outcome.output


@pytest.mark.profiles("direct")
def test_a_directory_that_the_server_cannot_read_is_named(profile: str, new_stack: NewStack, tmp_path: Path) -> None:
    stack = new_stack(profile)
    stack.build()
    handlers = tmp_path / "closed"
    handlers.mkdir(mode=0o700)
    (handlers / "main.py").write_text("async def handler(connection):\n    pass\n")
    with pytest.raises(ContainerError) as failed:
        stack.engine.containers.run(
            stack.image("backend"),
            ["python", "-m", "wss", "check"],
            remove=True,
            environment={"APP": "closed.main:handler"},
            volumes={str(handlers): {"bind": "/app/closed", "mode": "ro"}},
            **stack.beside,
        )
    assert b"/app/closed is not readable here. Let everybody read it" in failed.value.stderr  # type: ignore[operator]  # bytes, whatever the stub has
