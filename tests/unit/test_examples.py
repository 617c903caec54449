"""The examples of servers behind the proxies stay short, and docs/existing-server.md mentions each."""

import re
from pathlib import Path

import pytest
from example_servers import EXAMPLES, PATHS
from server import REPOSITORY
from wss.config.environment import settings_of
from wss.config.proxy import UpstreamSettings

# Its package is in no registry that the tests use.
UNTESTED = {"php"}
# examples/clients are no servers.
DIRECTORIES = {path.name: path for path in EXAMPLES.iterdir() if path.is_dir() and path.name != "clients"}
SERVERS = ("main.py", "server.py", "server.mjs", "start.php")


def server_of(directory: Path) -> Path:
    (server,) = (directory / name for name in SERVERS if (directory / name).exists())
    return server


def code_of(server: Path) -> list[str]:
    """Return its lines without the docstring, comments and blank lines."""
    text = re.sub(r'\A""".*?"""', "", server.read_text(), flags=re.DOTALL)
    return [line for line in text.splitlines() if not re.match(r"\s*(#|//|$)", line)]


def test_each_example_has_tests() -> None:
    assert DIRECTORIES.keys() == PATHS.keys() | UNTESTED


@pytest.mark.parametrize("name", DIRECTORIES)
def test_each_server_has_fewer_than_40_lines_of_code(name: str) -> None:
    assert 5 < len(code_of(server_of(DIRECTORIES[name]))) < 40


@pytest.mark.parametrize("name", DIRECTORIES)
def test_the_documentation_has_the_command_of_each_example(name: str) -> None:
    text = (REPOSITORY / "docs" / "existing-server.md").read_text()
    server = server_of(DIRECTORIES[name])
    assert f"examples/{name}/{server.name}" in text
    compose = f"COMPOSE_FILE=compose.yaml:upstream.yaml:examples/{name}/compose.yaml docker compose"
    command = compose if (server.parent / "compose.yaml").exists() else "UPSTREAM=host.docker.internal:9000"
    assert command in text
    assert command in "".join(file.read_text() for file in (server, *server.parent.glob("compose.yaml")))


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*/compose.yaml")), ids=lambda file: file.parent.name)
def test_the_compose_file_of_an_example_sets_what_upstream_yaml_reads(file: Path) -> None:
    text = file.read_text()
    settings = re.search(r"^x-upstream: &upstream\n  environment:\n((?:    .*\n)+)", text, re.MULTILINE)
    assert settings
    names = set(re.findall(r"^    ([A-Z_]+):", settings[1], re.MULTILINE))
    assert {"UPSTREAM"} <= names <= {setting.name for setting in settings_of(UpstreamSettings).values()}
    # The settings that are checked are those of the proxies.
    assert re.findall(r"^  (\w+): \*upstream$", text, re.MULTILINE) == ["nginx", "apache", "check"]
    port = re.search(r"UPSTREAM: app:(\d+)", text)
    assert port
    assert f"</dev/tcp/127.0.0.1/{port[1]}" in text
    assert port[1] in server_of(file.parent).read_text() + (file.parent / "Dockerfile").read_text()
