"""The manifests of deploy/kubernetes, as `kubectl kustomize` renders them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from stack import REPOSITORY

Manifest = dict[str, Any]
DIRECTORY = REPOSITORY / "deploy" / "kubernetes"
# The components that fit an overlay.
OF_PROXIES = ("autoscaling", "cert-manager", "drain", "hub", "monitoring", "proxy-protocol")
OF_DIRECT = ("cert-manager", "drain", "hub", "monitoring")


def kubectl() -> str:
    """Return the program, which a package of the test environment contains."""
    found = shutil.which("kubectl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert found, "kubectl is missing: run `make .venv`"
    return found


def render(overlay: str, *components: str, **more: Any) -> list[Manifest]:
    """Return the manifests of an overlay with components; `more` are further fields of a kustomization."""
    with TemporaryDirectory() as created:
        directory = Path(created).resolve()
        # kustomize accepts no absolute paths.
        base = os.path.relpath(DIRECTORY, directory)
        kustomization = {
            "resources": [f"{base}/{overlay}"],
            "components": [f"{base}/components/{component}" for component in components],
            **more,
        }
        (directory / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        done = subprocess.run([kubectl(), "kustomize", str(directory)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.load_all(done.stdout, Loader=yaml.CSafeLoader))  # several times as fast as the one in Python


@cache
def rendered(overlay: str, *components: str) -> list[Manifest]:
    """Return the manifests of an overlay with components, not to be changed."""
    return render(overlay, *components)


def of_kind(manifests: Iterable[Manifest], kind: str) -> dict[str, Manifest]:
    """Return the manifests of a kind, by name."""
    return {each["metadata"]["name"]: each for each in manifests if each["kind"] == kind}


def pods(manifests: Iterable[Manifest]) -> dict[str, Manifest]:
    """Return the pod specifications of all Deployments, by name."""
    return {name: each["spec"]["template"]["spec"] for name, each in of_kind(manifests, "Deployment").items()}


def containers(pod: Manifest) -> Iterator[Manifest]:
    yield from pod.get("initContainers", [])
    yield from pod["containers"]


def settings(manifests: Iterable[Manifest]) -> dict[str, str]:
    """Return the settings of all containers."""
    (found,) = (each for name, each in of_kind(manifests, "ConfigMap").items() if name.startswith("settings-"))
    return dict(found["data"])
