"""A cluster for the tests: that of KUBECONFIG, or one node in a container, with a control plane of its own."""

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import docker
import old_release
from docker.models.containers import Container
from eventually import eventually
from manifests import Manifest, kubectl
from stack import REPOSITORY

NAMESPACE = "wss-test"
NODE = "wss-kubernetes-node"
PAUSE = "wss-kubernetes-pause"
PARTS = ("nginx", "apache", "backend", "certs", "hub")


class Cluster:
    """Runs kubectl in the namespace of the tests."""

    def __init__(self, kubeconfig: Path, images: str) -> None:
        self._kubeconfig = kubeconfig
        self.images = images
        """Prefix of the images' names."""
        version = json.loads(self.kubectl("version", "--output=json"))["serverVersion"]
        self.version = int(version["major"]), int(version["minor"].rstrip("+"))

    def kubectl(self, *arguments: str, stdin: str | None = None, fails: bool = False) -> str:
        """Run a command and return its output; with `fails`, it has to fail, and the error is returned."""
        command = [kubectl(), f"--kubeconfig={self._kubeconfig}", f"--namespace={NAMESPACE}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        assert (done.returncode != 0) == fails, (
            f"kubectl {' '.join(arguments)}:\n{done.stdout}{done.stderr}\n{self.state()}"
        )
        return done.stderr if fails else done.stdout

    def get(self, kind: str, *options: str) -> list[Manifest]:
        return list(json.loads(self.kubectl("get", kind, "--output=json", *options))["items"])

    def apply(self, manifests: Sequence[Manifest]) -> None:
        """Apply the manifests, adapted to the release of the cluster."""
        listed = {"apiVersion": "v1", "kind": "List", "items": old_release.adapted(manifests, self.version)}
        # The fields were checked against the schemas already, and an old release has none that kubectl reads.
        self.kubectl("apply", "--validate=false", "--filename=-", stdin=json.dumps(listed))

    def apply_secret(self, name: str, **contents: bytes) -> None:
        """Create or replace a Secret. In the names of its keys, `_` stands for a point."""
        with TemporaryDirectory() as directory:
            for key, content in contents.items():
                Path(directory, key.replace("_", ".")).write_bytes(content)
            options = ("--dry-run=client", "--output=yaml", f"--from-file={directory}")
            manifest = self.kubectl("create", "secret", "generic", name, *options)
        self.kubectl("apply", "--validate=false", "--filename=-", stdin=manifest)

    def wait(self, *deployments: str) -> None:
        """Wait until the rollouts are complete, and no pod of before is left."""
        for name in deployments:
            self.kubectl("rollout", "status", f"deployment/{name}", "--timeout=180s")

        def is_settled() -> bool:
            pods = self.get("pods")
            assert not any("deletionTimestamp" in pod["metadata"] for pod in pods), self.state()
            conditions = [
                each for pod in pods for each in pod["status"].get("conditions", []) if each["type"] == "Ready"
            ]
            assert all(each["status"] == "True" for each in conditions), self.state()
            wanted: int = sum(each["spec"]["replicas"] for each in self.get("deployments"))
            return len(conditions) == wanted

        eventually(is_settled, "all pods are ready, and none ends", 180)

    def pods(self, component: str) -> list[str]:
        found = self.get("pods", f"--selector=app.kubernetes.io/component={component}")
        return [pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def evict(self, pod: str, *, refused: bool = False) -> str:
        """Ask for an eviction, as `kubectl drain` does for each pod of a node."""
        version = "policy/v1" if self.version >= (1, 22) else "policy/v1beta1"
        eviction = {"apiVersion": version, "kind": "Eviction", "metadata": {"name": pod, "namespace": NAMESPACE}}
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction"
        return self.kubectl("create", f"--raw={path}", "--filename=-", stdin=json.dumps(eviction), fails=refused)

    def address(self, service: str) -> tuple[str, int]:
        """Return where clients reach a LoadBalancer: its own address, or a node's, and the port."""
        (found,) = self.get("services", f"--field-selector=metadata.name={service}")
        (port,) = found["spec"]["ports"]
        for ingress in found["status"]["loadBalancer"].get("ingress", []):
            return ingress.get("ip") or ingress["hostname"], port["port"]
        (node, *_) = (
            each["address"]
            for node in self.get("nodes")
            for each in node["status"]["addresses"]
            if each["type"] == "InternalIP"
        )
        return node, port["nodePort"]

    def state(self) -> str:
        """Return what failure messages need."""
        commands: list[list[str]] = [
            ["get", "pods", "--output=wide"],
            ["get", "events", "--sort-by=.lastTimestamp"],
            ["logs", "--selector=app.kubernetes.io/name=wss", "--all-containers", "--prefix", "--tail=15"],
        ]
        base = [kubectl(), f"--kubeconfig={self._kubeconfig}", f"--namespace={NAMESPACE}"]
        done = [subprocess.run([*base, *each], capture_output=True, text=True, check=False) for each in commands]
        return "\n".join(each.stdout[-6000:] + each.stderr[-500:] for each in done)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Return the cluster of KUBECONFIG, or start one. Remove what the tests create."""
    if path := os.environ.get("KUBECONFIG"):
        started = Cluster(Path(path), os.environ.get("IMAGES", "wss"))
        started.kubectl("create", "namespace", NAMESPACE)
        try:
            yield started
        finally:
            started.kubectl("delete", "namespace", NAMESPACE)
        return
    _build()
    engine = docker.from_env()
    node = engine.containers.create(
        NODE,
        name=NODE,
        hostname="node",
        privileged=True,
        volumes={"/lib/modules": {"bind": "/lib/modules", "mode": "ro"}},
    )
    try:
        node.start()
        with TemporaryDirectory() as directory:
            kubeconfig = Path(directory, "kubeconfig")
            eventually(lambda: _copied(node, kubeconfig), "the node has a kubeconfig", 60)
            started = eventually(lambda: Cluster(kubeconfig, "docker.io/library/wss"), "the API server answers", 120)
            eventually(lambda: _is_ready(started), "the node is ready", 120)
            _load(node)
            started.kubectl("create", "namespace", NAMESPACE)
            eventually(lambda: started.kubectl("get", "serviceaccount", "default"), "pods can be created", 60)
            yield started
    finally:
        node.remove(force=True, v=True)
        engine.close()


def _build() -> None:
    compose = ["docker", "compose", "--project-name=wss", f"--file={REPOSITORY / 'compose.yaml'}", "--profile=*"]
    directory = str(REPOSITORY / "tests" / "kubernetes" / "node")
    for command in (
        [str(REPOSITORY / "tools" / "engine"), "debian:bookworm-slim"],
        [*compose, "build", *PARTS],
        ["docker", "build", "--quiet", "--tag", PAUSE, "--target=pause", directory],
        ["docker", "build", "--quiet", "--tag", NODE, directory],
    ):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}"


def _copied(node: Container, kubeconfig: Path) -> bool:
    node.reload()
    assert node.status == "running", node.logs(tail=40).decode()
    archive, _ = node.get_archive("/run/node/kubeconfig")
    with tarfile.open(fileobj=io.BytesIO(b"".join(archive))) as tar:
        file = tar.extractfile("kubeconfig")
        assert file
        kubeconfig.write_bytes(file.read())
    return True


def _is_ready(cluster: Cluster) -> bool:
    conditions = [each for node in cluster.get("nodes") for each in node["status"]["conditions"]]
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _load(node: Container) -> None:
    """Copy the images to the node, because there is no registry."""
    images = [PAUSE, *(f"wss-{part}" for part in PARTS)]
    with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saving:
        command = [
            "docker",
            "exec",
            "--interactive",
            str(node.id),
            "ctr",
            "--namespace=k8s.io",
            "images",
            "import",
            "-",
        ]
        subprocess.run(command, stdin=saving.stdout, stdout=subprocess.DEVNULL, check=True)
    assert saving.returncode == 0
