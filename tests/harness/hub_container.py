"""The hub alone, in a container, for servers that run on this machine without one."""

import secrets
import subprocess
from contextlib import suppress
from typing import Protocol

import docker
from docker.errors import NotFound
from eventually import LIMIT, eventually
from ports import free_port
from run import Run
from server import Server
from stack import BESIDE, REPOSITORY
from valkey import Valkey
from valkey.exceptions import ValkeyError

PASSWORD = secrets.token_hex(8)


class StartServers(Protocol):
    """Start so many servers of two workers each, with a handler that calls functions of rooms for its clients."""

    def __call__(self, hub: "HubContainer", number: int, **environment: str) -> list[Server]: ...


class HubContainer:
    """The image of hub/ with its own configuration, on a port of 127.0.0.1 that stays the same."""

    def __init__(self, engine: docker.DockerClient, run: Run, **environment: str) -> None:
        image = f"{run.name}-hub:latest"
        build = ["docker", "build", "--quiet", f"--tag={image}", str(REPOSITORY / "hub")]
        run.once("hub image", lambda: subprocess.run(build, check=True, capture_output=True))
        self._port = free_port()
        self.container = engine.containers.run(
            image,
            ["sh", "-c", f"printf {PASSWORD} >/hub/password; exec start"],
            name=f"{run.name}-hub-{secrets.token_hex(4)}",
            labels=BESIDE,
            environment={"HUB_PASSWORD_FILE": "/hub/password", **environment},
            ports={"6379/tcp": ("127.0.0.1", self._port)},
            detach=True,
        )
        self.wait_until_ready()

    @property
    def url(self) -> str:
        return f"valkey://:{PASSWORD}@127.0.0.1:{self._port}"

    def client(self) -> Valkey:
        return Valkey.from_url(self.url, socket_timeout=LIMIT)

    def wait_until_ready(self) -> None:
        def ping() -> bool:
            with suppress(ValkeyError), self.client() as client:
                return bool(client.ping())
            return False

        eventually(ping, "the hub responds")

    def cut_subscribers(self) -> None:
        """Close the connections over which workers receive publications."""
        with self.client() as client:
            client.client_kill_filter(_type="pubsub")

    def remove(self) -> None:
        with suppress(NotFound):
            self.container.remove(force=True, v=True)
