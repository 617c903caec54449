"""The file VERSION is the source of the version: all that names a version agrees with it."""

import re
import urllib.request
from pathlib import Path

import pytest
from server import REPOSITORY, TIMEOUT, Start, run_command

VERSION = (REPOSITORY / "VERSION").read_text().strip()
REVISION = "0123456789abcdef0123456789abcdef01234567"
# Of the services; other Dockerfiles are those of examples, tests and bench.
DOCKERFILES = sorted(REPOSITORY.glob("*/Dockerfile"))


def test_the_version_is_semantic() -> None:
    # https://semver.org/#is-there-a-suggested-regular-expression-regex-to-check-a-semver-string, without build metadata
    assert re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?", VERSION)


def test_the_newest_release_in_the_changelog_is_this_version() -> None:
    headings = re.findall(r"^## (.*)$", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    releases = [heading for heading in headings if heading != "[Unreleased]"]
    assert re.fullmatch(rf"\[{re.escape(VERSION)}\] - \d{{4}}-\d\d-\d\d", releases[0])


def test_compose_gives_this_version_to_every_image() -> None:
    text, monitoring = ((REPOSITORY / file).read_text() for file in ("compose.yaml", "monitoring.yaml"))
    for each in (text, monitoring):
        assert re.findall(r"\bVERSION: ([^},\s]+)", each) == [VERSION]
    assert text.count("  build:\n") == text.count("args: &base") + text.count("args: *base")
    assert text.count("  build:\n") + monitoring.count("  build:\n") == len(DOCKERFILES)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_every_image_has_labels_with_version_and_revision(dockerfile: Path) -> None:
    text = dockerfile.read_text()
    images = text.count("org.opencontainers.image.title=")
    expected = """\
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.version="${VERSION}" \\
      org.opencontainers.image.revision="${REVISION}"
"""
    assert text.count(expected) == images > 0


@pytest.mark.parametrize("page", sorted((REPOSITORY / "site").glob("*.html")), ids=lambda path: path.name)
def test_every_page_has_the_version_in_its_footer(page: Path) -> None:
    (footer,) = re.findall(r"<footer.*?>(.*?)</footer>", page.read_text())
    assert re.sub(r"<.*?>", "", footer) == f"wss {VERSION}"


def test_the_metric_and_status_have_version_and_revision(start: Start, tmp_path: Path) -> None:
    server = start(RUN_DIR=str(tmp_path), WORKERS="2", WSS_VERSION=VERSION, WSS_REVISION=REVISION)
    server.wait_for("(serving)")  # the second worker
    with urllib.request.urlopen(f"http://localhost:{server.metrics_port}/metrics", timeout=TIMEOUT) as response:
        lines = response.read().decode().splitlines()
    (series,) = (line for line in lines if line.startswith("wss_build_info{"))
    assert sorted(re.findall(r'(\w+)="(.*?)"', series)) == [("revision", REVISION), ("version", VERSION)]
    assert series.endswith("} 1.0")
    shown = run_command("wss.observability.status", tmp_path, WSS_VERSION=VERSION, WSS_REVISION=REVISION)
    assert shown.stdout.splitlines()[0] == f"version {VERSION}, revision {REVISION}"


def test_a_server_outside_of_an_image_has_an_unknown_version(start: Start, tmp_path: Path) -> None:
    start(RUN_DIR=str(tmp_path))
    assert run_command("wss.observability.status", tmp_path).stdout.startswith("version unknown, revision unknown\n")
