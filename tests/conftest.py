"""The fixtures: engine → CA and certificates → stack → target → connect."""

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
import pytest
import trustme
import websocket
from client import TIMEOUT, Target, target_of
from docker.errors import DockerException
from fixtures import Connect, NewStack
from pairs import write_pair
from stack import ALLOWED_ORIGIN, COVERED_BUT_FOREIGN, DOMAIN, OWN_ORIGINS, PROFILES, REPOSITORY, Stack, remove_all

_RUN = "E2E_RUN"  # in the environment, and so the same in all processes of one run
_LIVE = pytest.StashKey[list[Stack]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("wss", "a deployment that is already up")
    group.addoption("--url", help="run the client's part of the suite against this wss:// URL (default app)")
    group.addoption("--ca", type=Path, help="the CA to trust for --url, in PEM (default: the system's)")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LIVE] = []
    os.environ.setdefault(_RUN, secrets.token_hex(4))
    url = config.getoption("--url")
    if url and not (urlsplit(url).scheme == "wss" and urlsplit(url).hostname):
        raise pytest.UsageError(f"--url={url}: give a wss:// URL, for example wss://example.com/wss")
    # A terminated run cleans up like an interrupted one.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_unconfigure(config: pytest.Config) -> None:
    # A test process that is interrupted has a few seconds (execnet's), and then leaves its containers behind.
    is_test_process = hasattr(config, "workerinput")
    if not (is_test_process or os.environ.get("E2E_KEEP") or config.getoption("--url")):
        remove_all(_prefix())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "profile" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("profiles")
        profiles = ("url",) if metafunc.config.getoption("--url") else marker.args if marker else PROFILES
        metafunc.parametrize("profile", profiles, scope="session", indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--url"):
        needs_engine = [item for item in items if "engine" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=needs_engine)
        items[:] = [item for item in items if item not in needs_engine]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if report.failed:
        for stack in item.config.stash[_LIVE]:
            report.sections.append((f"containers of {stack.project}", stack.logs()))
    return report


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        pytest.exit(f"no Docker engine answers ({error}). Run tools/engine, or start Docker.", returncode=2)
    yield client
    client.close()


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    """The only authority that this run's clients trust."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return path


@pytest.fixture(scope="session")
def certs(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CERTS_DIR with a good pair for DOMAIN, and for one name that is not in it."""
    directory = tmp_path_factory.mktemp("certs")
    # RSA, because most of the suites that must be refused are for RSA keys only.
    write_pair(ca.issue_cert(*DOMAIN, COVERED_BUT_FOREIGN, key_type=trustme.KeyType.RSA), directory)
    return directory


@pytest.fixture(scope="session")
def profile(request: pytest.FixtureRequest) -> str:
    """`nginx`, `apache`, `direct`; or `url` for a deployment that is already up."""
    return str(request.param)


@contextmanager
def _alive(config: pytest.Config, stack: Stack) -> Iterator[Stack]:
    """Remove the stack at the end, however it went; until then its logs are in every failure's report."""
    config.stash[_LIVE].append(stack)
    try:
        yield stack
    finally:
        if os.environ.get("E2E_KEEP"):
            print(f"\nkept: docker compose --project-name {stack.project} --profile {stack.profile} ps")
        else:
            stack.remove()
            config.stash[_LIVE].remove(stack)


def _prefix() -> str:
    return f"wss-e2e-{os.environ[_RUN]}"


def _project() -> str:
    return f"{_prefix()}-{secrets.token_hex(4)}"


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, engine: docker.DockerClient, profile: str, certs: Path) -> Iterator[Stack]:
    """The profile, up, with the probe handler: shared by the tests that change nothing."""
    settings = {
        "APP": "apps.probe:handler",
        "CERTS_DIR": str(certs),
        "DOMAIN": ",".join(DOMAIN),
        "ORIGINS": ",".join((ALLOWED_ORIGIN, *OWN_ORIGINS)),
    }
    files = (REPOSITORY / "compose.yaml", REPOSITORY / "tests" / "harness" / "probe" / "compose.yaml")
    with _alive(request.config, Stack(engine, _project(), profile, settings, files)) as shared:
        shared.up()
        yield shared


@pytest.fixture
def new_stack(request: pytest.FixtureRequest, engine: docker.DockerClient, certs: Path) -> Iterator[NewStack]:
    """Return a factory of stacks for one test alone; `new_stack(profile, APP=…)` is not up yet."""
    with ExitStack() as alive:

        def new(profile: str, directory: Path = REPOSITORY, files: tuple[Path, ...] = (), **settings: str) -> Stack:
            settings = {"CERTS_DIR": str(certs), **settings}
            stack = Stack(engine, _project(), profile, settings, files, directory)
            return alive.enter_context(_alive(request.config, stack))

        yield new


@pytest.fixture
def target(request: pytest.FixtureRequest, profile: str) -> Target:
    """Where clients connect: the shared stack, or what --url names."""
    if profile == "url":
        url = urlsplit(request.config.getoption("--url"))
        return Target(str(url.hostname), url.port or 443, url.path or "/", request.config.getoption("--ca"))
    return target_of(request.getfixturevalue("stack"), request.getfixturevalue("ca_file"))


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Return a function that opens a websocket to a target; all are closed after the test."""
    with ExitStack() as opened:

        def connect(target: Target, query: str = "", **options: Any) -> websocket.WebSocket:
            options = {"sslopt": {"context": target.context()}, "timeout": TIMEOUT, "suppress_origin": True, **options}
            ws = websocket.create_connection(f"{target.url}{query}", **options)
            # Not close(): after a close frame was received it does nothing, and the server waits.
            opened.callback(ws.shutdown)
            return ws

        yield connect
