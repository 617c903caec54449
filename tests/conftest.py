"""The fixtures: engine → CA and certificates → stack → target → connect."""

import asyncio
import gc
import os
import re
import secrets
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
import pytest
import trustme
import websocket
from browser import CLIENTS_IMAGE, build_clients, chromium
from client import TIMEOUT, Target, target_of
from docker.errors import DockerException
from fixtures import Connect, NewStack
from pairs import write_pair
from playwright.sync_api import Browser, Playwright, sync_playwright
from run import TIMEOUT as TIMEOUT_OF_THE_ENGINE
from run import Run
from stack import (
    ALLOWED_ORIGIN,
    COVERED_BUT_FOREIGN,
    DOMAIN,
    LIGHTER,
    OWN_ORIGINS,
    PROBE,
    PROFILES,
    REPOSITORY,
    WITHOUT_SERVER_NAME,
    Stack,
)
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

_RUN = pytest.StashKey[Run]()
_STACKS = pytest.StashKey[list[Stack]]()  # stacks that a test used: its failure report includes their logs


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("wss", "a running deployment")
    group.addoption("--url", help="run the client-side tests against this wss:// URL (which serves the default app)")
    group.addoption("--echo", action="store_true", help="the URL serves an echo that may be another server than ours")
    group.addoption("--ca", type=Path, help="PEM file of the CA to trust for --url (default: the system's CAs)")


def pytest_configure(config: pytest.Config) -> None:
    url = config.getoption("--url")
    if url and not (urlsplit(url).scheme == "wss" and urlsplit(url).hostname):
        raise pytest.UsageError(f"--url={url}: give a wss:// URL, for example wss://example.com/wss")
    config.stash[_RUN] = run = Run()
    if not hasattr(config, "workerinput"):  # set by pytest-xdist in its workers
        run.start_reaper(keep=bool(url or os.environ.get("E2E_KEEP")))
    # SIGTERM runs the same cleanup as SIGINT.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_unconfigure(config: pytest.Config) -> None:
    if run := config.stash.get(_RUN, None):
        run.end()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "profile" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("profiles")
        profiles = ("url",) if metafunc.config.getoption("--url") else marker.args if marker else PROFILES
        metafunc.parametrize("profile", profiles, scope="session", indirect=True)


# After pytest itself, which puts all tests of the first profile before those without one.
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--url"):
        deselected = [item for item in items if not _runs_with_url(config, item)]
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in deselected]
    items.sort(key=lambda item: item.get_closest_marker("stops_the_stack") is not None)
    # Groups start in this order: the everyday run first; in each part first what takes long, because it must not be
    # alone at the end, with an idle core beside it.
    items.sort(
        key=lambda item: (
            not item.nodeid.startswith(("tests/unit/", "tests/e2e/")),
            item.get_closest_marker("long") is None,
            "tests/e2e/" not in item.nodeid,
        )
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    # The collected tests live as long as the process: the garbage collector need not traverse them again and again.
    gc.freeze()


def _runs_with_url(config: pytest.Config, item: pytest.Item) -> bool:
    fixtures = getattr(item, "fixturenames", ())
    is_echo = config.getoption("--echo")
    return (
        "engine" not in fixtures
        and (is_echo or "echo" not in fixtures)
        and not (is_echo and item.get_closest_marker("own_backend"))
    )


class _ByStack(LoadScopeScheduling):  # type: ignore[misc]
    """Runs tests that share fixtures in one process: in tests/e2e those of a profile's stack, elsewhere a module's.

    --dist=loadgroup would do, but pytest-xdist 3.8 does not find the groups with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        path, _, test = nodeid.partition("::")
        if path.startswith("tests/unit/"):
            return path
        profile = re.search(rf"[\[-]({'|'.join((*PROFILES, 'url'))})[\]-]", test)
        shared = "tests/e2e" if path.startswith("tests/e2e/") and profile else path
        return f"{shared} {profile[1]}" if profile else shared


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _ByStack(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    with _without_a_browsers_loop(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with _without_a_browsers_loop(item):
        return (yield)


@contextmanager
def _without_a_browsers_loop(item: pytest.Item) -> Iterator[None]:
    """Let a test run a loop of its own: Playwright's is marked as running in this thread until the process ends."""
    if "playwright" in getattr(item, "fixturenames", ()):
        yield
        return
    running = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(running)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if report.failed:
        used = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Stack)]
        for stack in {id(stack): stack for stack in (*used, *item.stash.get(_STACKS, ()))}.values():
            try:
                logs = stack.logs()
            except DockerException as error:  # raised here, it would end the whole run
                logs = f"no logs: {error}"
            report.sections.append((f"containers of {stack.project}", logs))
    return report


@pytest.fixture(scope="session")
def run(pytestconfig: pytest.Config) -> Run:
    """This run, which removes what the tests created."""
    return pytestconfig.stash[_RUN]


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    try:
        client = docker.from_env(timeout=TIMEOUT_OF_THE_ENGINE)
        # At each call, requests would look for a proxy and for ~/.netrc, which takes a quarter of the call's CPU time.
        client.api.trust_env = False
        client.ping()
    except DockerException as error:
        pytest.exit(f"cannot reach a Docker engine ({error}). Run tools/engine, or start Docker.", returncode=2)
    yield client
    client.close()


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    """The only CA that the clients of this run trust."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return path


@pytest.fixture(scope="session")
def certs(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CERTS_DIR with a valid pair. It covers DOMAIN, and a name and an address that are not in DOMAIN."""
    directory = tmp_path_factory.mktemp("certs")
    # RSA, because most of the cipher suites that must be refused need an RSA key.
    names = (*DOMAIN, COVERED_BUT_FOREIGN, WITHOUT_SERVER_NAME)
    write_pair(ca.issue_cert(*names, key_type=trustme.KeyType.RSA), directory)
    return directory


@pytest.fixture(scope="session")
def profile(request: pytest.FixtureRequest) -> str:
    """`nginx`, `apache`, `direct`; or `url` for the deployment that --url names."""
    return str(request.param)


@contextmanager
def _removing(stack: Stack) -> Iterator[Stack]:
    """Remove the stack at the end, even if its test failed."""
    try:
        yield stack
    finally:
        if os.environ.get("E2E_KEEP"):
            print(f"\nkept: docker compose --project-name {stack.project} --profile {stack.profile} ps")
        else:
            stack.remove()


def _project(run: Run) -> str:
    return f"{run.name}-{secrets.token_hex(4)}"


@pytest.fixture(scope="session")
def stack(engine: docker.DockerClient, run: Run, profile: str, certs: Path) -> Iterator[Stack]:
    """The running profile with the probe handler, shared by the tests that do not change its state."""
    settings = {
        "APP": "apps.probe:handler",
        "CERTS_DIR": str(certs),
        "DOMAIN": ",".join(DOMAIN),
        "ORIGINS": ",".join((ALLOWED_ORIGIN, *OWN_ORIGINS)),
    }
    with _removing(Stack(engine, run, _project(run), profile, settings, PROBE)) as shared:
        shared.up()
        yield shared


@contextmanager
def _new_stacks(engine: docker.DockerClient, run: Run, certs: Path, created: list[Stack]) -> Iterator[NewStack]:
    with ExitStack() as cleanup:

        def new(
            profile: str,
            directory: Path = REPOSITORY,
            files: tuple[Path, ...] = (),
            overlays: tuple[Path, ...] = (LIGHTER,),
            **settings: str,
        ) -> Stack:
            settings = {"CERTS_DIR": str(certs), **settings}
            created.append(Stack(engine, run, _project(run), profile, settings, files, directory, overlays))
            return cleanup.enter_context(_removing(created[-1]))

        yield new


@pytest.fixture
def new_stack(request: pytest.FixtureRequest, engine: docker.DockerClient, run: Run, certs: Path) -> Iterator[NewStack]:
    """Return a factory of stacks for one test; `new_stack(profile, APP=…)` does not start the stack."""
    with _new_stacks(engine, run, certs, request.node.stash.setdefault(_STACKS, [])) as new:
        yield new


@pytest.fixture(scope="module")
def new_shared_stack(engine: docker.DockerClient, run: Run, certs: Path) -> Iterator[NewStack]:
    """Return a factory of stacks for the tests of a module; each test resets the stack before it uses it."""
    with _new_stacks(engine, run, certs, []) as new:
        yield new


@pytest.fixture
def target(request: pytest.FixtureRequest, profile: str) -> Target:
    """The server that clients connect to: the shared stack, or the deployment that --url names."""
    if profile == "url":
        url = urlsplit(request.config.getoption("--url"))
        return Target(str(url.hostname), url.port or 443, url.path or "/", request.config.getoption("--ca"))
    stack = request.getfixturevalue("stack")
    request.node.stash.setdefault(_STACKS, []).append(stack)
    return target_of(stack, request.getfixturevalue("ca_file"))


@pytest.fixture
def echo(target: Target, profile: str) -> Target:
    """A server that returns each message: the probe handler's echo, or the deployment that --url and --echo name."""
    return target if profile == "url" else replace(target, path=f"{target.path}?app=echo")


@pytest.fixture(scope="session")
def clients(run: Run) -> str:
    """The image with Chromium, Node and curl."""
    run.once("clients", build_clients)
    return CLIENTS_IMAGE


# Not for the session: a driver that has ended would fail all later tests of this process.
@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def chrome(playwright: Playwright, clients: str, stack: Stack, ca_file: Path) -> Iterator[Browser]:
    """A Chromium that can reach the shared stack; each test has its own context or page there."""
    assert clients
    with chromium(playwright, stack, ca_file) as browser:
        yield browser


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Return a function that opens a websocket to a target; all websockets are closed after the test."""
    with ExitStack() as opened:

        def connect(target: Target, query: str = "", **options: Any) -> websocket.WebSocket:
            options = {"sslopt": {"context": target.context()}, "timeout": TIMEOUT, "suppress_origin": True, **options}
            ws = websocket.create_connection(f"{target.url}{query}", **options)
            # Not close(): it does nothing after a close frame was received, and the server then waits for its timeout.
            opened.callback(ws.shutdown)
            return ws

        yield connect
