"""tools/engine changes no engine that is there, on any system, as any user.

The commands that it finds are stubs, because a machine for each case cannot be had here; `sudo` runs nothing.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from server import REPOSITORY

# Real commands that change nothing.
HARMLESS = ("cat", "env", "grep", "head", "sed", "sh", "test")
NO_RIGHTS = "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock"
NO_ENGINE = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
HUNG = "context deadline exceeded"

STUB = """#!/bin/sh
echo "$(basename "$0") $*" >>"$LOG"
"""
DOCKER = """
case "$*" in
    version) [ -e "$LOG.started" ] || [ -z "$PROBLEM" ] || { echo "$PROBLEM" >&2; exit 1; } ;;
    'context show') echo "${CONTEXT:-default}" ;;
    'image inspect'*) [ -n "$HAS_IMAGE" ] ;;
    pull*) [ -n "$CAN_PULL" ] || { echo 'no route to host'; exit 1; } ;;
esac
"""
SUDO = """
case "$*" in
    'docker version') [ -e "$LOG.started" ] || [ -n "$ANSWERS_ROOT" ] ;;
    *'--status --name dockerd') [ -n "$DOCKERD_RUNS" ] ;;
    *'start-stop-daemon --start'* | 'systemctl enable --now docker') touch "$LOG.started" ;;
esac
"""


@dataclass
class Run:
    """What tools/engine did."""

    code: int
    message: str
    calls: list[str]

    @property
    def as_root(self) -> list[str]:
        return [call.removeprefix("sudo ") for call in self.calls if call.startswith("sudo ")]


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in (*HARMLESS, "basename", "touch"):
        (directory / name).symlink_to(f"/usr/bin/{name}")
    stubs = {"docker": DOCKER, "sudo": SUDO, "timeout": 'shift\nexec "$@"\n', "uname": 'echo "${SYSTEM:-Linux}"\n'}
    stubs |= {"id": "case $1 in -u) echo 1000 ;; *) echo ann ;; esac\n", "python3": "", "make": "", "sleep": ""}
    stubs |= dict.fromkeys(("apt-get", "dockerd", "rm", "tee"), "")
    for name, body in stubs.items():
        (directory / name).write_text(STUB + body)
        (directory / name).chmod(0o755)
    return directory


def run(commands: Path, **environment: str) -> Run:
    """Run tools/engine on a machine that has these commands, and beside them its docker.sock and snaps, if any."""
    log = commands.parent / "log"
    log.write_text("")
    script = (REPOSITORY / "tools" / "engine").read_text()
    for of_this_machine, path in {
        "/var/run/docker.sock": f"{commands.parent}/docker.sock",
        "/snap/": f"{commands.parent}/snap/",
        "$PATH:/usr/sbin": "$PATH",
    }.items():
        assert of_this_machine in script
        script = script.replace(of_this_machine, path)
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        env={"PATH": f"{commands}:{commands.parent}/snap/bin", "LOG": str(log), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Run(done.returncode, done.stderr, log.read_text().splitlines())


def test_an_engine_that_works_is_only_asked(commands: Path) -> None:
    done = run(commands, HAS_IMAGE="1")
    assert (done.code, done.message) == (0, "")
    assert [call for call in done.calls if call.startswith(("sudo", "apt-get", "rm"))] == []


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        # dockerd runs with and without systemd, and this user has no rights.
        ({"PROBLEM": NO_RIGHTS, "DOCKERD_RUNS": "1", "ANSWERS_ROOT": "1"}, "ann may not use it. Run 'sudo usermod"),
        # The process is hidden from this user, or the error is another one.
        ({"PROBLEM": NO_ENGINE, "DOCKERD_RUNS": "1", "ANSWERS_ROOT": "1"}, "ann may not use it. Run 'sudo usermod"),
        ({"PROBLEM": HUNG, "DOCKERD_RUNS": "1"}, "did not answer within 60 s. Read its log"),
        ({"PROBLEM": NO_ENGINE, "DOCKER_HOST": "tcp://192.0.2.1:2376"}, "Start it, or unset DOCKER_HOST"),
        ({"PROBLEM": NO_ENGINE, "CONTEXT": "desktop-linux"}, "the Docker context 'desktop-linux' does not answer"),
        ({"PROBLEM": NO_ENGINE, "SYSTEM": "Darwin"}, "no Docker engine answers. Start Docker Desktop"),
    ],
)
def test_an_engine_that_does_not_answer_this_user_is_not_touched(
    commands: Path, environment: dict[str, str], message: str
) -> None:
    done = run(commands, **environment)
    assert done.code == 1
    assert message in done.message
    questions = {"docker version", "/usr/sbin/start-stop-daemon --status --name dockerd"}
    assert set(done.as_root) <= questions
    assert [call for call in done.calls if call.startswith(("apt-get", "rm "))] == []


def test_a_machine_without_a_running_engine_gets_one(commands: Path) -> None:
    done = run(commands, PROBLEM=NO_ENGINE, HAS_IMAGE="1")
    assert done.code == 0, done.message
    assert done.as_root[0] == "/usr/sbin/start-stop-daemon --status --name dockerd"
    started = [call for call in done.as_root if "--start " in call or call.startswith("systemctl")]
    assert len(started) == 1


def test_a_client_alone_gets_an_engine(commands: Path) -> None:
    (commands / "dockerd").unlink()
    done = run(commands, PROBLEM=NO_ENGINE)
    assert "installing docker.io containerd" in done.message
    assert done.as_root == ["apt-get -q update"]
    # The stub of apt-get has no archives.
    assert done.code == 1
    assert "apt has no 'Debian' archive" in done.message


@pytest.mark.parametrize("belongs_to", ["a socket", "a snap"])
def test_a_client_of_an_engine_elsewhere_gets_none(commands: Path, belongs_to: str) -> None:
    (commands / "dockerd").unlink()
    if belongs_to == "a socket":
        (commands.parent / "docker.sock").touch()
    else:
        snaps = commands.parent / "snap" / "bin"
        snaps.mkdir(parents=True)
        (commands / "docker").rename(snaps / "docker")
    done = run(commands, PROBLEM=NO_ENGINE)
    assert done.code == 1
    assert "its engine does not answer (Cannot connect to the Docker daemon" in done.message
    assert done.as_root == []


def test_macos_has_no_timeout(commands: Path) -> None:
    (commands / "timeout").unlink()
    done = run(commands, SYSTEM="Darwin", CAN_PULL="1")
    assert done.code == 0, done.message
    assert done.message == "engine: pulling debian:trixie-slim\n"


@pytest.mark.parametrize("base_image", ["", "registry.example/debian"])
def test_macos_does_not_build_debian(commands: Path, base_image: str) -> None:
    done = run(commands, SYSTEM="Darwin", **({"BASE_IMAGE": base_image} if base_image else {}))
    assert done.code == 1
    assert "no route to host" in done.message
    assert ("Correct BASE_IMAGE" if base_image else "set BASE_IMAGE to the name of this image") in done.message
    assert done.as_root == []
