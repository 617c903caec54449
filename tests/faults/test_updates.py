"""tools/updates reports packages for which Debian has updates, and an image that it cannot check is an error."""

import subprocess

import docker
import pytest
from run import Run
from stack import REPOSITORY

pytestmark = pytest.mark.long

# Real packages, because apt is asked. `hello` in Debian is newer, and depends on nothing that could conflict.
DOCKERFILE = r"""
FROM debian:trixie-slim AS current
RUN apt-get update && apt-get dist-upgrade --yes && rm -rf /var/lib/apt/lists/*

FROM current AS old
RUN mkdir -p /hello/DEBIAN && printf '%s\n' 'Package: hello' 'Version: 0.1' 'Architecture: all' \
        'Maintainer: nobody <nobody@example.com>' 'Description: old' >/hello/DEBIAN/control \
    && dpkg-deb --build /hello /hello.deb && dpkg --install /hello.deb

# Debian's servers end in .invalid, which never resolves (RFC 2606).
FROM current AS unreachable
RUN rm -r /etc/apt/sources.list.d \
    && echo 'deb http://deb.invalid/debian trixie main' >/etc/apt/sources.list

FROM current AS without-sources
RUN rm -r /etc/apt/sources.list.d
# The check runs as root, whatever the user of the image.
USER 10001:10001
"""


@pytest.fixture(scope="module")
def images(engine: docker.DockerClient, run: Run) -> dict[str, str]:
    assert engine.ping()

    def build(stage: str, *options: str) -> str:
        tag = f"{run.name}-updates-{stage}"
        command = ["docker", "build", "--quiet", f"--target={stage}", f"--tag={tag}", *options, "-"]
        subprocess.run(command, input=DOCKERFILE, text=True, check=True, stdout=subprocess.DEVNULL)
        return tag

    # The updates of today, not those of a cached layer.
    images = {"current": build("current", "--no-cache")}
    return images | {stage: build(stage) for stage in ("old", "unreachable", "without-sources")}


def updates(*images: str) -> "subprocess.CompletedProcess[str]":
    command = [str(REPOSITORY / "tools" / "updates"), *images]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_an_image_without_updates_passes(images: dict[str, str]) -> None:
    done = updates(images["current"])
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{images['current']}: up to date\n", "")


def test_an_old_package_fails_the_check(images: dict[str, str]) -> None:
    done = updates(images["current"], images["old"])
    assert done.returncode == 1
    assert f"{images['current']}: up to date\n{images['old']}: updates\n    hello 0.1 -> " in done.stdout
    assert (
        f"not up to date: {images['old']}. Run 'docker compose --profile nginx build --pull --no-cache'" in done.stderr
    )


@pytest.mark.parametrize(
    ("image", "cause"),
    [
        ("unreachable", "http://deb.invalid/debian"),
        ("without-sources", "the image has no package sources"),
        ("missing", "Unable to find image"),
    ],
)
def test_an_image_that_cannot_be_checked_is_not_up_to_date(images: dict[str, str], image: str, cause: str) -> None:
    tag = images.get(image, "wss-no-such-image.invalid/missing")
    done = updates(tag, images["old"])
    assert done.returncode == 2
    assert cause in done.stderr
    assert f"could not check: {tag}. " in done.stderr
    assert f"{tag}: up to date" not in done.stdout
