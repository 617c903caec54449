"""A year of certificates of 64, 47, 45 and 6 days, in compressed time: the service, the real certbot, the real Pebble.

Each renewal needs a validation, because authorizations last hours. One in eight fails, and Pebble rejects some nonces.
For one certificate, the service is stopped until it has to warn, and then all validations fail until it has warned.
tests/harness/acme_year.py has what is compressed, and how.
"""

import json
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
import trustme
from acme_server import HARNESS
from acme_year import DAY, LATE_FAILURES, NAME, Result, earliest_renewal, warned_from
from eventually import eventually
from pairs import write_pair
from run import Run
from stack import REPOSITORY

pytestmark = pytest.mark.long

# Days, and in how many parts the year is run at the same time.
LIFETIMES: dict[float, int] = {64: 1, 47: 1, 45: 1, 6: 4}
# The challenges are served in Pebble's own container.
COMMAND = ["sh", "-c", "busybox httpd -p 80 -h /challenges && exec pebble -config /pebble/config.json"]


@contextmanager
def _pebble(engine: docker.DockerClient, run: Run, ca: trustme.CA, directory: Path, days: float) -> Iterator[str]:
    """Start an ACME server whose certificates last so many days; it finds answers in the directory `challenges`."""
    (directory / "challenges").mkdir()
    (directory / "pebble").mkdir()
    ca.cert_pem.write_to_path(directory / "ca.pem")
    write_pair(ca.issue_cert("localhost"), directory / "pebble")
    config = json.loads((HARNESS / "pebble" / "config.json").read_text())
    config["pebble"]["certificateValidityPeriod"] = int(days * DAY)
    (directory / "pebble" / "config.json").write_text(json.dumps(config))
    for path in directory.rglob("*"):
        path.chmod(0o755)
    container = engine.containers.run(
        f"{run.name}-pebble:latest",
        COMMAND,
        name=f"{run.name}-pebble-{secrets.token_hex(4)}",
        environment={"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0"},
        extra_hosts={NAME: "127.0.0.1"},
        ports={"14000/tcp": ("127.0.0.1", 0)},
        volumes={
            str(directory / "pebble"): {"bind": "/pebble", "mode": "ro"},
            str(directory / "challenges"): {"bind": "/challenges", "mode": "ro"},
        },
        detach=True,
    )
    try:
        eventually(lambda: b"Listening on" in container.logs(), "Pebble listens")
        container.reload()
        (binding, *_) = container.ports["14000/tcp"] or []
        yield f"https://localhost:{binding['HostPort']}/dir"
    finally:
        container.remove(force=True, v=True)


def _run_part(directory: Path, days: float, url: str) -> dict[str, Any]:
    script = [sys.executable, str(HARNESS / "acme_year.py"), str(directory), str(days), url, str(LIFETIMES[days])]
    environment = {"PYTHONPATH": str(REPOSITORY / "certs"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def _merge(parts: list[dict[str, Any]]) -> Result:
    return Result(
        issued=sum(part["issued"] for part in parts),
        failed=sum(part["failed"] for part in parts),
        idle=sum(part["idle"] for part in parts),
        oldest=max(part["oldest"] for part in parts),
        problems={problem for part in parts for problem in part["problems"]},
        wrong_health=[health for part in parts for health in part["wrong_health"]],
        warnings=[days for part in parts for days in part["warnings"]],
    )


@pytest.fixture(scope="module")
def years(
    engine: docker.DockerClient, run: Run, ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> dict[float, Result]:
    """The year with each lifetime, all at the same time."""
    build = ["docker", "build", "--quiet", f"--tag={run.name}-pebble", str(HARNESS / "pebble")]
    run.once("pebble image", lambda: subprocess.run(build, check=True, capture_output=True))
    with ExitStack() as running, ThreadPoolExecutor(max_workers=sum(LIFETIMES.values())) as pool:

        def start(days: float) -> Future[dict[str, Any]]:
            directory = tmp_path_factory.mktemp("year")
            url = running.enter_context(_pebble(engine, run, ca, directory, days))
            return pool.submit(_run_part, directory, days, url)

        started = {days: [start(days) for _ in range(parts)] for days, parts in LIFETIMES.items()}
        return {days: _merge([part.result() for part in parts]) for days, parts in started.items()}


@pytest.mark.parametrize("days", LIFETIMES)
def test_no_hour_of_a_year_is_unserved(years: dict[float, Result], days: float) -> None:
    year = years[days]
    assert year.oldest < days
    assert 365 / days - 1 < year.issued < 1.2 * 365 / earliest_renewal(days)
    assert year.failed >= LATE_FAILURES * LIFETIMES[days]
    assert year.oldest > days - warned_from(days)
    assert year.idle > 0


@pytest.mark.parametrize("days", LIFETIMES)
def test_the_service_is_unhealthy_as_long_as_renewals_fail(years: dict[float, Result], days: float) -> None:
    year = years[days]
    assert not year.wrong_health
    assert "ok" in year.problems
    # Besides, Pebble rejects one nonce in twenty; certbot tries once more.
    reasons = (
        rf"the ACME server issues no certificate: ({NAME}: unauthorized: .* 404"
        r"|(An unexpected|Unable to register) .* nonce: .*)"
        r"|the certificate expires in \d+ days"
    )
    assert not [problem for problem in year.problems - {"ok"} if not re.fullmatch(reasons, problem)]
    assert any("unauthorized" in problem for problem in year.problems)


@pytest.mark.parametrize("days", LIFETIMES)
def test_a_warning_is_logged_only_if_a_renewal_is_late(years: dict[float, Result], days: float) -> None:
    year = years[days]
    assert year.warnings
    assert max(year.warnings) <= warned_from(days)
    assert len(year.warnings) <= 2 * LIFETIMES[days]
