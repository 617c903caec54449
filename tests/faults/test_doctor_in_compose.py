"""The doctor with the command of docs/troubleshooting.md, and names that no server has."""

import json
from pathlib import Path
from typing import Any

import pytest
from eventually import LIMIT
from fixtures import NewStack


def test_the_command_of_the_documentation(profile: str, new_stack: NewStack, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)  # as in a clone
    stack = new_stack(profile, CERTS_DIR=str(tmp_path))
    stack.up()
    stack.build("doctor")
    command = ("run", "--rm", "--no-TTY", "doctor", "--ca", "certs/live/ca.pem")
    port = stack.port
    outcome = stack.compose(*command, "--messages", f"wss://localhost:{port}/wss")
    assert outcome.code == 0, outcome.output
    assert "'tom': received a message" in outcome.output
    assert "Healthy" in outcome.output
    outcome = stack.compose(*command, "--json", f"wss://localhost:{port}/nowhere")
    assert outcome.code == 1
    report = json.loads(outcome.output[outcome.output.index("{") :])
    assert report["findings"][-1]["code"] == "upgrade-404"


@pytest.mark.profiles("nginx")
def test_names_without_a_reachable_server(profile: str, new_stack: NewStack) -> None:
    stack = new_stack(profile)  # only for its image
    stack.build("doctor")

    def diagnosis(name: str, *arguments: str, **options: Any) -> tuple[str, set[str]]:
        # Not `remove=True`, which raises for exit code 1 before the output is read.
        container = stack.engine.containers.run(
            stack.image("doctor"),
            ["--json", *arguments, f"wss://{name}:9/wss"],
            **stack.beside,
            detach=True,
            **options,
        )
        try:
            assert container.wait(timeout=LIMIT)["StatusCode"] == 1
            findings = json.loads(container.logs(stderr=False))["findings"]
        finally:
            container.remove(force=True)
        return findings[-1]["code"], {finding["code"] for finding in findings if finding["mark"] == "warning"}

    assert diagnosis("any.example", "--timeout", "1", dns=["127.0.0.1"]) == ("dns-silent", set())
    only_six = {"six.example": "2001:db8::1"}
    assert diagnosis("six.example", extra_hosts=only_six) == ("tcp-unreachable", {"dns-ipv6-only", "dns-private"})
    private = {"private.example": "host-gateway"}
    assert diagnosis("private.example", extra_hosts=private) == ("tcp-refused", {"dns-private"})
