"""The manifests of deploy/kubernetes: every field is known, every pod is restricted, what refers to another fits it."""

import json
from functools import cache

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
from manifests import DIRECTORY, OF_DIRECT, OF_PROXIES, Manifest, containers, of_kind, pods, rendered, settings
from wss.config.names import INTERNAL, SETTINGS
from wss.config.settings import read_settings

# The oldest and the newest release with support: https://kubernetes.io/releases/
VERSIONS = ("1.35", "1.37")
# Of other projects, whose schemas are not in the package.
CUSTOM = {
    ("cert-manager.io/v1", "Certificate"),
    *(("gateway.networking.k8s.io/v1", each) for each in ("Gateway", "HTTPRoute")),
}
OF_OTHERS = ("autoscaling", "drain", "hub", "monitoring")
COMBINATIONS = (
    *((overlay,) for overlay in ("nginx", "apache", "direct", "gateway", "ingress", "example")),
    *(("nginx", each) for each in OF_PROXIES),
    ("apache", *OF_PROXIES),
    ("direct", *OF_DIRECT),
    *((overlay, *OF_OTHERS) for overlay in ("gateway", "ingress")),
)

any_combination = pytest.mark.parametrize("manifests", COMBINATIONS, ids="-".join, indirect=True)


@pytest.fixture
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return rendered(*request.param)


@cache  # most manifests are the same in several combinations
def validate(manifest: str, version: str) -> None:
    kubernetes_validate.validate(json.loads(manifest), version, strict=True)


def test_every_directory_is_rendered() -> None:
    directories = {str(file.parent.relative_to(DIRECTORY)) for file in DIRECTORY.rglob("kustomization.yaml")}
    overlays = {overlay for overlay, *_ in COMBINATIONS}
    components = {f"components/{each}" for each in ("certs", *OF_PROXIES, *OF_DIRECT, *OF_OTHERS)}
    assert directories == {"backend", "proxy", *overlays, *components}


@any_combination
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field(manifests: list[Manifest], version: str) -> None:
    for each in manifests:
        if (each["apiVersion"], each["kind"]) not in CUSTOM:
            validate(json.dumps(each), version)


def test_an_unknown_field_is_found() -> None:
    (deployment,) = of_kind(rendered("direct"), "Deployment").values()
    wrong = json.loads(json.dumps(deployment).replace("startupProbe", "startupprobe"))
    for version in VERSIONS:
        with pytest.raises(kubernetes_validate.ValidationError, match="'startupprobe' was unexpected"):
            kubernetes_validate.validate(wrong, version, strict=True)


@any_combination
def test_every_pod_meets_the_restricted_security_standard(manifests: list[Manifest]) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    assert pods(manifests)
    for pod in pods(manifests).values():
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] == 10001
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert {each["name"] for each in context.get("sysctls", [])} <= {
            "net.ipv4.ip_unprivileged_port_start",
            "net.ipv4.ip_local_port_range",
        }
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & pod.keys()
        for volume in pod["volumes"]:
            assert (volume.keys() - {"name"}) <= {"configMap", "emptyDir", "secret"}
        for container in containers(pod):
            # Nothing that would change what the pod's context sets.
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }
            assert not any("hostPort" in port for port in container.get("ports", []))


@any_combination
def test_pods_neither_speak_to_the_api_nor_get_variables_of_services(manifests: list[Manifest]) -> None:
    for pod in pods(manifests).values():
        assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)


@any_combination
def test_selectors_and_ports_are_those_of_pods(manifests: list[Manifest]) -> None:
    deployments = of_kind(manifests, "Deployment").values()
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in deployments]

    def selected(selector: Manifest) -> list[Manifest]:
        wanted = selector.get("matchLabels", selector if "matchExpressions" not in selector else {})
        expressions = selector.get("matchExpressions", [])
        return [
            each
            for each, found in zip(deployments, labels, strict=True)
            if wanted.items() <= found.items() and all(found.get(one["key"]) in one["values"] for one in expressions)
        ]

    def ports(deployment: Manifest) -> set[int | str]:
        listed = [port for one in deployment["spec"]["template"]["spec"]["containers"] for port in one["ports"]]
        return {value for port in listed for value in (port["name"], port["containerPort"])}

    for deployment in deployments:
        assert selected(deployment["spec"]["selector"]) == [deployment]
    for budget in of_kind(manifests, "PodDisruptionBudget").values():
        assert len(selected(budget["spec"]["selector"])) == 1
    for service in of_kind(manifests, "Service").values():
        (deployment,) = selected(service["spec"]["selector"])
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports(deployment)
    for name, policy in of_kind(manifests, "NetworkPolicy").items():
        spec = policy["spec"]
        targets = selected(spec["podSelector"])
        assert targets, name
        for rule in spec.get("ingress", []):
            assert all({port["port"] for port in rule["ports"]} <= ports(target) for target in targets), name
        for rule in [*spec.get("ingress", []), *spec.get("egress", [])]:
            for peer in [*rule.get("from", []), *rule.get("to", [])]:
                assert "namespaceSelector" in peer or selected(peer["podSelector"]), name


@any_combination
def test_the_settings_are_settings(manifests: list[Manifest]) -> None:
    given = settings(manifests)
    assert given.keys() <= {*SETTINGS, *INTERNAL}
    read_settings(given)
