"""nginx and Apache with a faulty configuration, and what the doctor finds there."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from diagnosis import examine
from eventually import LIMIT, eventually
from stack import Stack

from doctor.finding import Finding

NAME = "wss.example"


class MisconfiguredProxy:
    """Starts a proxy with a test's own configuration on the networks of a stack; returns the findings."""

    def __init__(self, stack: Stack, certs: Path, ca_file: Path, directory: Path) -> None:
        self._stack = stack
        self._certs = certs
        self._ca_file = ca_file
        self._directory = directory
        self._started = ExitStack()

    def __enter__(self) -> "MisconfiguredProxy":
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    @property
    def host(self) -> str:
        """The address of this machine in the container networks."""
        return self._stack.gateway

    def examine(self, configuration: str, command: list[str], *, starts: bool = True, **options: Any) -> list[Finding]:
        file = self._directory / "server.conf"
        file.write_text(configuration)
        container = self._stack.start_beside(
            self._stack.image(self._stack.profile),
            {"/server.conf": file, "/certs": self._certs},
            inner=True,
            command=command,
            user="0:0",
        )
        self._started.callback(container.remove, force=True, v=True)
        if starts:
            address = container.attrs["NetworkSettings"]["Networks"][f"{self._stack.project}_edge"]["IPAddress"]

            def listens() -> bool:
                with socket.create_connection((address, 443), timeout=1):
                    return True

            try:
                eventually(listens, "the proxy listens on port 443")
            except AssertionError as error:
                raise AssertionError(container.logs().decode()) from error
        else:
            # The proxy has exited. Examine the backend's address instead: nothing listens on its port 443.
            assert container.wait(timeout=LIMIT)["StatusCode"] != 0
            networks = self._stack.container("backend").attrs["NetworkSettings"]["Networks"]
            address = networks[f"{self._stack.project}_inner"]["IPAddress"]
        return examine(f"wss://{NAME}/wss", timeout=LIMIT, resolve=((NAME, 443, address),), ca=self._ca_file, **options)


@contextmanager
def silent_backend() -> Iterator[int]:
    """Accept connections on this machine, and never answer; yields the port."""
    with socket.create_server(("0.0.0.0", 0)) as listener:  # noqa: S104  # the containers connect over the bridge
        accepted: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    accepted.append(listener.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for connection in accepted:
                connection.close()
