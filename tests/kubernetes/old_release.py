"""Manifests for a release before 1.30, such as the one that Debian has: three things that it lacks, in its own words.

A cluster with a release that has them gets the manifests as they are.
"""

from collections.abc import Sequence
from copy import deepcopy

from manifests import Manifest

WITHOUT_CHANGES = (1, 30)


def adapted(manifests: Sequence[Manifest], version: tuple[int, int]) -> list[Manifest]:
    """Return what a cluster of this version understands."""
    if version >= WITHOUT_CHANGES:
        return list(manifests)
    changed = deepcopy(list(manifests))
    for manifest in changed:
        if manifest["kind"] == "PodDisruptionBudget":  # policy/v1: 1.21
            manifest["apiVersion"] = "policy/v1beta1"
        if manifest["kind"] == "Deployment":
            _adapt(manifest["spec"]["template"]["spec"])
    return changed


def _adapt(pod: Manifest) -> None:
    for container in pod["containers"]:
        if before := container.get("lifecycle", {}).get("preStop", {}).pop("sleep", None):  # 1.29
            container["lifecycle"]["preStop"]["exec"] = {"command": ["sleep", str(before["seconds"])]}
    # Native sidecars: 1.28. Here the kubelet starts the containers in order, and waits for postStart of each.
    sidecars = [each for each in pod.get("initContainers", []) if each.pop("restartPolicy", None)]
    for sidecar in sidecars:
        pod["initContainers"].remove(sidecar)
        del sidecar["startupProbe"]
        wait = "for try in {1..300}; do healthy && exit; sleep 0.1; done; exit 1"
        sidecar["lifecycle"] = {"postStart": {"exec": {"command": ["bash", "-c", wait]}}}
    pod["containers"] = [*sidecars, *pod["containers"]]
