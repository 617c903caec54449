"""The pages name only what exists: files, headings, settings, make targets, services, options, metrics, calls."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import typer.main
from server import REPOSITORY
from wss.config.names import INTERNAL, SETTINGS, resembled
from wss.rooms.api import Rooms

from doctor.__main__ import app as doctor

README = REPOSITORY / "README.md"
PAGES = (
    *sorted(REPOSITORY.glob("*.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
)
DIRECTORIES = sorted(path.name for path in REPOSITORY.iterdir() if path.is_dir() and not path.name.startswith("."))
COMPOSE_FILES = (*REPOSITORY.glob("*.yaml"), *REPOSITORY.glob("examples/*/compose.yaml"))
# Of handlers in the examples, of other programs, and of the images' builds; PROXY_PROTOCOL is set by balancer.yaml.
OTHER_VARIABLES = {"API_KEY", "TOKEN", "RELAY_URL", "NODE_EXTRA_CA_CERTS", "PYTHONPATH", "SSL_CERT_FILE"} | {
    *("WEBSOCKETS_MAX_LINE_LENGTH", "REVISION", "PROXY_PROTOCOL", "CHAOS", "PROFILE", "OVERLAY"),
    "DOCKERD_ROOTLESS_ROOTLESSKIT_PORT_DRIVER",
}
# Files that a user, or a command on the page, creates.
CREATED = {
    *(
        "compose.override.yaml",
        "certs/live/ca.pem",
        "certs/live/server.pem",
        "certs/live/server.key",
        "certs/live/password",
    ),
    *(f"handlers/{name}.py" for name in ("shout", "test_shout", "shop", "tom", "group")),
    *("handlers/requirements.txt", "bench/.venv/bin/python"),
}
FENCED = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def code_of(page: Path) -> str:
    """Return its code, inline and in blocks, one piece per line; continued lines are joined."""
    text = page.read_text()
    inline = re.findall(r"`([^`\n]+)`", FENCED.sub("", text))
    pieces = (*FENCED.findall(text), *re.findall(r"^    (.*)$", text, re.MULTILINE), *inline)
    return re.sub(r"\\\n\s*", " ", "\n".join(pieces))


def anchors_of(page: Path) -> list[str]:
    """Return the anchors that GitHub gives to the headings: lower case, without punctuation, hyphens for spaces."""
    titles = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    titles = [re.sub(r"\[(.*?)\]\(.*?\)", r"\1", title) for title in titles]
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


def links_of(page: Path) -> list[tuple[str, Path, str]]:
    """Return each link to a file of the repository: as written, the file, the anchor."""
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()) if not re.match(r"[a-z]+:", link)]
    parts = [(link, *link.partition("#")[::2]) for link in links]
    return [(link, (page.parent / path).resolve() if path else page, anchor) for link, path, anchor in parts]


def links(page: Path) -> set[str]:
    return {
        link
        for link, file, anchor in links_of(page)
        if not file.exists() or (anchor and anchors_of(file).count(anchor) != 1)
    }


def settings(page: Path) -> set[str]:
    names = set(re.findall(r"(?<![\w$.?&-])([A-Z][A-Z_]+)=", code_of(page)))
    return names - {*SETTINGS, *INTERNAL, *OTHER_VARIABLES}


def misspelled_settings(page: Path) -> set[str]:
    # docs/settings.md shows ORIGIN as a mistake.
    names = set(re.findall(r"\b[A-Z][A-Z_]+\b", code_of(page)))
    return {name for name in names if resembled(name)} - {"ORIGIN"}


def make_targets(page: Path) -> set[str]:
    targets = re.findall(r"^([\w./-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    return set(re.findall(r"(?:^|[ ;&])make ([\w.-]+)$", code_of(page), re.MULTILINE)) - {*targets}


def compose_files(page: Path) -> set[str]:
    code = code_of(page)
    listed = [file for files in re.findall(r"COMPOSE_FILE=([\w./:-]+)", code) for file in files.split(":")]
    files = {*listed, *re.findall(r"--compose-file (\S+)", code)} - CREATED
    return {file for file in files if not (REPOSITORY / file).is_file()}


def profiles(page: Path) -> set[str]:
    texts = [(REPOSITORY / file).read_text() for file in ("compose.yaml", "monitoring.yaml")]
    lists = [names for text in texts for names in re.findall(r"profiles: \[(.*?)\]", text)]
    return set(re.findall(r"--profile (\S+)", code_of(page))) - {name for names in lists for name in names.split(", ")}


def services(page: Path) -> set[str]:
    texts = [file.read_text().partition("\nservices:\n")[2].partition("\nvolumes:")[0] for file in COMPOSE_FILES]
    existing = {name for text in texts for name in re.findall(r"^  ([a-z-]+):", text, re.MULTILINE)}
    command = r"(?:exec|run --rm|logs|stop|restart|kill --signal HUP)(?: -v \S+)*"
    pattern = rf"docker compose (?:--profile \S+ )*{command} ([a-z]+)|--scale ([a-z]+)="
    return {name for names in re.findall(pattern, code_of(page)) for name in names if name} - existing


def commands_in_containers(page: Path) -> set[str]:
    directories = {"nginx": ("nginx", "proxy"), "apache": ("apache", "proxy")}
    return {
        f"{service} {command}"
        for service, command in re.findall(r"docker compose exec (\S+) ([a-z]+)", code_of(page))
        if not any((REPOSITORY / each / command).is_file() for each in directories.get(service, ("backend",)))
    }


def options(page: Path) -> set[str]:
    def of_parser(*files: str) -> set[str]:
        return {name for file in files for name in re.findall(r'"(--[a-z-]+)"', (REPOSITORY / file).read_text())}

    of_doctor = {name for parameter in typer.main.get_command(doctor).params for name in parameter.opts}
    existing = {
        r"run --rm(?: -v \S+)* doctor\b|python -m doctor\b": of_doctor | {"--help"},
        r"run --rm(?: -v \S+)* certs\b": of_parser("certs/certificates/__main__.py"),
        r"exec backend (?:push|close)\b": of_parser(
            *(f"backend/wss/{name}.py" for name in ("outside", "push", "close"))
        ),
        r"python -m bench\b(?!\.)": of_parser("bench/__main__.py"),
        r"python -m bench\.instructions": of_parser("bench/instructions/__main__.py"),
        r"make chaos CHAOS=": of_parser("tests/chaos/__main__.py"),
        r"pytest tests/(?:e2e|conformance)\b": of_parser("tests/conftest.py", "tests/conformance/conftest.py"),
    }
    found = set()
    for command, known in existing.items():
        for arguments in re.findall(rf"(?:{command})([^#\n]*)", code_of(page)):
            found |= set(re.findall(r"(?<!\S)--[a-z-]+", arguments)) - known
    # The table of the doctor's options.
    rows = re.findall(r"^\| (`--.*?) \|", page.read_text(), re.MULTILINE)
    return found | {name for row in rows for name in re.findall(r"`(--[a-z-]+)", row)} - of_doctor - {"--help"}


def paths(page: Path) -> set[str]:
    names = set(re.findall(rf"(?<![\w./-])((?:{'|'.join(DIRECTORIES)})/[\w./-]*\w)", code_of(page))) - CREATED
    # `apps/…` and docs/architecture.md: relative to backend/ or backend/wss/.
    roots = (REPOSITORY, REPOSITORY / "backend", REPOSITORY / "backend" / "wss")
    return {name for name in names if not any((root / name).exists() for root in roots)}


def metrics(page: Path) -> set[str]:
    sources = (*(REPOSITORY / "backend" / "wss").rglob("*.py"), REPOSITORY / "monitoring" / "export-proxy")
    code = "".join(file.read_text() for file in sources)
    # prometheus_client appends _total to the names of counters.
    names = {name.removesuffix("_total") for name in re.findall(r"\bwss_[a-z_]+", code_of(page))}
    return {name for name in names if not re.search(rf'"{name}(?:_total)?"', code)}


def calls_of_rooms(page: Path) -> set[str]:
    return {name for name in re.findall(r"\brooms\.([a-z_]+)\(", code_of(page)) if not hasattr(Rooms, name)}


Check = Callable[[Path], set[str]]
# Each returns the names on a page that do not exist; the text has one such name.
CHECKS: dict[Check, tuple[str, str]] = {
    links: ("[dead](missing.md)", "missing.md"),
    settings: ("    MAX_SPEED=1 docker compose up", "MAX_SPEED"),
    misspelled_settings: ("Set `MAX_MESAGE`.", "MAX_MESAGE"),
    make_targets: ("Run `make coffee`.", "coffee"),
    compose_files: ("    COMPOSE_FILE=compose.yaml:missing.yaml docker compose up", "missing.yaml"),
    profiles: ("    docker compose --profile caddy up", "caddy"),
    services: ("    docker compose --profile nginx logs caddy", "caddy"),
    commands_in_containers: ("`docker compose exec nginx restart`", "nginx restart"),
    options: ("    docker compose run --rm doctor --fast wss://localhost/wss", "--fast"),
    paths: ("See `nginx/missing.conf`.", "nginx/missing.conf"),
    metrics: ("See `wss_coffees_total{size}`.", "wss_coffees"),
    calls_of_rooms: ("Call `rooms.shout(room)`.", "shout"),
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
@pytest.mark.parametrize("missing", CHECKS, ids=lambda check: check.__name__)
def test_everything_that_a_page_names_exists(missing: Check, page: Path) -> None:
    assert missing(page) == set()


@pytest.mark.parametrize(
    ("missing", "text", "name"),
    [
        *((check, *example) for check, example in CHECKS.items()),
        (links, "[dead](#no-heading)", "#no-heading"),
        (links, "[ok](#what-is-wss)\n# What is `wss`?\n[dead](page.md#what-is-wss-1)", "page.md#what-is-wss-1"),
        (links, "[ambiguous](#two)\n# Two\n# Two", "#two"),
        (compose_files, "    docker stack deploy --compose-file deploy/missing.yaml", "deploy/missing.yaml"),
        (services, "    docker compose up --scale caddy=2", "caddy"),
        (options, "| `--fast` | hurries |", "--fast"),
        (options, "    bench/.venv/bin/python -m bench --slow", "--slow"),
    ],
)
def test_a_name_that_does_not_exist_is_found(missing: Check, text: str, name: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{text}\n")
    assert missing(page) == {name}


def test_each_page_is_linked_from_the_readme() -> None:
    assert set(PAGES) - {README} <= {file for _, file, _ in links_of(README)}


def test_each_page_that_the_code_names_exists() -> None:
    command = [
        "git",
        "grep",
        "-Ioh",
        "--extended-regexp",
        r"(^|[^a-z0-9_/.-])docs/[a-z0-9_/-]+\.md",
        "--",
        ":!tests/unit",
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    names = {re.sub(r"^[^d]", "", name) for name in done.stdout.splitlines()}
    assert {"docs/handler.md", "docs/certificates.md"} <= names
    assert {name for name in names if not (REPOSITORY / name).is_file()} == set()
