"""A host in a container, which has its own Docker engine."""

import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from io import BytesIO

from docker.models.containers import Container


class Host:
    """A running container, in which commands use the engine of its own."""

    def __init__(self, container: Container, address: str) -> None:
        self.container, self.address = container, address

    def run(self, *command: str, **environment: str) -> str:
        """Run a command on the host; return its output."""
        done = self.container.exec_run(list(command), environment=environment)
        assert isinstance(done.output, bytes)
        output = done.output.decode().strip()
        assert done.exit_code == 0, f"{' '.join(command)} failed:\n{output}"
        return output

    @property
    def is_ready(self) -> bool:
        return self.container.exec_run(["docker", "info"]).exit_code == 0

    def docker(self, *arguments: str, **environment: str) -> str:
        return self.run("docker", *arguments, **environment)

    def put(self, directory: str, files: Mapping[str, bytes]) -> None:
        """Write files to a directory of the host."""
        self.run("mkdir", "-p", directory)
        archive = BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, contents in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(contents)
                info.mode = 0o600
                tar.addfile(info, BytesIO(contents))
        assert self.container.put_archive(directory, archive.getvalue())

    def load(self, images: Sequence[str]) -> None:
        """Copy images from the outer engine to the host's engine, because there is no registry."""
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saving:
            command = ["docker", "exec", "--interactive", str(self.container.id), "docker", "load", "--quiet"]
            subprocess.run(command, stdin=saving.stdout, stdout=subprocess.DEVNULL, check=True)
        assert saving.returncode == 0
