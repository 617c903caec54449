"""One running Compose project, as an operator and a client see it."""

import os
import re
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from docker.errors import NotFound
from docker.models.containers import Container
from eventually import eventually
from images import Outcome, build_missing
from run import Run

REPOSITORY = Path(__file__).parents[2]
PROFILES = ("nginx", "apache", "direct")
COMPOSE_TIMEOUT = 600.0  # seconds; the first build downloads packages

# Compose files that mount the tests' handlers.
PROBE = (REPOSITORY / "compose.yaml", REPOSITORY / "tests" / "harness" / "probe" / "compose.yaml")
LIGHTER = REPOSITORY / "tests" / "harness" / "lighter.yaml"
# The label of a container that Compose does not manage. It replaces the one that Compose put on the image, which would
# assign the container to the project that built it.
BESIDE = {"com.docker.compose.project": "beside"}
# For tests with many clients: on a busy machine some of them cannot answer a ping in time.
LONG_PING_TIMEOUT = {"PING_TIMEOUT": "600"}
# Seconds, the `sleep` of docs/operations.md before old backends stop. No condition takes its place: each worker of
# nginx has its own addresses, and the pause itself is tested.
UPDATE_PAUSE = float(re.findall(r"^sleep (\d+)$", (REPOSITORY / "docs" / "operations.md").read_text(), re.MULTILINE)[0])
# The port in the container that each profile publishes.
INNER_PORT = {"nginx": 443, "apache": 443, "direct": 8282}
_ANY_FREE_PORT = {"HTTPS_PORT": "127.0.0.1:0", "DIRECT_PORT": "127.0.0.1:0"}

# The names that the shared stack serves, and what it must refuse although its certificate covers it.
DOMAIN = ("localhost", "wss.example", "*.wild.example")
COVERED_BUT_FOREIGN = "elsewhere.example"
WITHOUT_SERVER_NAME = "127.0.0.1"  # TLS clients send no server name for an address
ALLOWED_ORIGIN = "https://app.example"
OWN_ORIGINS = ("https://wss.example", "https://wss.example:8282")


@dataclass
class Stack:
    """A Compose project with a unique name, on a free port of 127.0.0.1."""

    engine: docker.DockerClient
    run: Run
    project: str
    profile: str
    settings: Mapping[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    directory: Path = REPOSITORY
    overlays: tuple[Path, ...] = (LIGHTER,)

    @property
    def _is_clone(self) -> bool:
        return self.directory != REPOSITORY

    @property
    def _images(self) -> str:
        # A clone has modified files, so it does not share the images of the run.
        return self.project if self._is_clone else self.run.name

    def image(self, name: str) -> str:
        """Return the tag of a service's built image: `nginx`, `backend`, `certs` …"""
        return f"{self._images}-{name}:latest"

    def build(self, *services: str) -> None:
        """Build the images of these services (default: the profile's), once per run, because the tests share them."""
        files = (file.parent.name + file.name for file in (*self.files, *self.overlays))  # they choose the services
        names = [self._images, *self._profiles, *services, *files]
        self.run.once(" ".join(names), lambda: build_missing(self.compose, self.run.directory, services))

    @property
    def _profiles(self) -> list[str]:
        return [self.profile, *(["hub"] if "HUB" in self.settings else [])]

    def compose(self, *arguments: str, timeout: float = COMPOSE_TIMEOUT) -> Outcome:
        """Run `docker compose …` as in the README, with the settings in the environment."""
        # Ignore a developer's compose.override.yaml and .env.
        own = self.files or (self.directory / "compose.yaml",)
        files = [f"--file={file}" for file in (own if self._is_clone else (*own, *self.overlays))]
        profiles = [f"--profile={profile}" for profile in self._profiles]
        project = ["--env-file=/dev/null", f"--project-name={self.project}", *files, *profiles]
        done = subprocess.run(
            ["docker", "compose", "--ansi=never", *project, *arguments],
            cwd=self.directory,
            env={**_plain_environment(), **_ANY_FREE_PORT, "IMAGES": self._images, **self.settings},
            pass_fds=[self.run.lock],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Outcome(done.returncode, done.stdout)

    def up(self, *arguments: str) -> None:
        """Start the profile, and wait until it is healthy."""
        outcome = self.start("--wait", *arguments)
        assert outcome.code == 0, f"docker compose up failed:\n{outcome.output}\n{self.logs()}"

    def start(self, *arguments: str) -> Outcome:
        """Build the images if necessary, and start the profile; return the result of `docker compose up`."""
        self.build()
        return self.compose("up", "--no-build", *arguments)

    def remove(self) -> None:
        """Remove the project's containers, networks and volumes, of all profiles, but not its images."""
        all_profiles = [f"--profile={profile}" for profile in (*PROFILES, "hub")]
        outcome = self.compose(*all_profiles, "down", "--volumes", "--remove-orphans", "--timeout", "0")
        assert outcome.code == 0, f"docker compose down failed; parts of {self.project} may remain:\n{outcome.output}"

    def containers(self, service: str | None = None) -> list[Container]:
        """Return the containers of the project's services, or of one service, including stopped ones."""
        return self._list(service, sparse=False)

    def _list(self, service: str | None, *, sparse: bool) -> list[Container]:
        """Return the same; `sparse`: without a request for each container, with what the list has about it."""
        label = "com.docker.compose.service"
        labels = [f"com.docker.compose.project={self.project}", f"{label}={service}" if service else label]
        return self.engine.containers.list(all=True, ignore_removed=True, sparse=sparse, filters={"label": labels})

    def container(self, service: str | None = None) -> Container:
        """Return the only container of the service (default: the service that terminates TLS)."""
        (container,) = self.containers(service or self.profile)
        return container

    @property
    def server(self) -> str:
        """The service that runs the handler."""
        return "direct" if self.profile == "direct" else "backend"

    @property
    def port(self) -> int:
        """The published port on 127.0.0.1."""
        (container,) = self._list(self.profile, sparse=True)
        published = [each for each in container.attrs["Ports"] if each.get("IP") == "127.0.0.1"]
        return next(int(each["PublicPort"]) for each in published if each["PrivatePort"] == INNER_PORT[self.profile])

    @property
    def gateway(self) -> str:
        """The address of Docker's bridge on the edge network."""
        (config,) = self.engine.networks.get(f"{self.project}_edge").attrs["IPAM"]["Config"]
        return str(config["Gateway"])

    def run_client(self, script: str, *arguments: str, files: Mapping[str, Path], **options: Any) -> str:
        """Run a Python script in a separate container on the edge network; return its output."""
        return self.run_beside(self.image("backend"), ["python", "-c", script, *arguments], files, **options)

    def run_beside(self, image: str, command: Sequence[str], files: Mapping[str, Path], **options: Any) -> str:
        """Run a separate container on the edge network; return its output.

        `files` are mounted (path in the container → path on the host). wss.example resolves to the service that
        terminates TLS.
        """
        output = self.engine.containers.run(image, list(command), remove=True, **self._beside(files), **options)
        return str(output.decode())

    def start_beside(self, image: str, files: Mapping[str, Path], *, inner: bool = False, **options: Any) -> Container:
        """Start a container like `run_beside`, which the caller removes; `inner` also joins the backend's network."""
        container = self.engine.containers.create(image, **self._beside(files), **options)
        if inner:
            self.engine.networks.get(f"{self.project}_inner").connect(container)
        container.start()
        container.reload()
        return container

    def _beside(self, files: Mapping[str, Path]) -> dict[str, Any]:
        network = f"{self.project}_edge"
        return {
            **self.beside,
            "network": network,
            "extra_hosts": {"wss.example": self.container().attrs["NetworkSettings"]["Networks"][network]["IPAddress"]},
            "volumes": {
                str(file): {"bind": path, "mode": "rw" if file.is_dir() else "ro"} for path, file in files.items()
            },
        }

    @property
    def beside(self) -> dict[str, Any]:
        """Name and label of a container that Compose does not manage. The run removes it by its name."""
        return {"name": f"{self.project}-{secrets.token_hex(4)}", "labels": BESIDE}

    def run_in(self, service: str, *command: str) -> str:
        """Run a command in a service's container, like `docker compose exec`; return its output."""
        done = self.container(service).exec_run(list(command))
        assert done.exit_code == 0, done.output
        assert isinstance(done.output, bytes)
        return done.output.decode()

    def read_in(self, service: str, *command: str) -> str:
        """Return what a command prints in the container of a service, if it always prints something."""
        return read_in(self.container(service), *command)

    def logs(self, service: str | None = None) -> str:
        """Return the logs of the containers, with a heading for each."""
        logs = []
        for container in self._list(service, sparse=True):
            with suppress(NotFound):  # removed meanwhile
                text = container.logs().decode(errors="replace")
                name = container.attrs["Names"][0].removeprefix("/")
                logs.append(f"--- {name} ({container.status})\n{text}")
        return "".join(logs)

    def wait_for_log(self, service: str, text: str) -> str:
        """Wait until the log of a service has a line with `text`; return that line.

        The engine copies a container's output after the container has written it: a log that is read once may lack it.
        """

        def line() -> str | None:
            return next((line for line in self.logs(service).splitlines() if text in line), None)

        return eventually(line, f"{service} logs {text!r}")


# BASE_IMAGE is not removed: it names the base image that is available on this machine.
_SETTINGS = set(re.findall(r"\$\{([A-Z_]+):-", (REPOSITORY / "compose.yaml").read_text())) - {"BASE_IMAGE"}


def _plain_environment() -> dict[str, str]:
    """Return the caller's environment without the stack's settings: each test passes those that it needs."""
    return {name: value for name, value in os.environ.items() if name not in _SETTINGS}


def pause(container: Container) -> None:
    """Freeze all processes of a container; `unpause` is Docker's own.

    Again, because runc gives up if processes start meanwhile (cgroup v1: https://github.com/opencontainers/runc/pull/2791).
    """

    def is_paused() -> bool:
        container.pause()
        return True

    eventually(is_paused, f"{container.name} is paused")


def read_in(container: Container, *command: str) -> str:
    """Return what a command prints in a container, if it always prints something.

    A busy engine can lose the output of a command that ends at once: https://github.com/moby/moby/issues/27289
    """

    def run() -> str:
        done = container.exec_run(list(command))
        assert done.exit_code == 0, done.output
        assert isinstance(done.output, bytes)
        return done.output.decode()

    return eventually(run, f"{command} prints something")
