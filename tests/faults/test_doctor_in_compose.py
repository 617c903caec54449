"""The doctor as the README has it, and names that lead nowhere."""

import json
from pathlib import Path
from typing import Any

import pytest
from eventually import LIMIT
from fixtures import NewStack


def test_the_command_of_the_readme(profile: str, new_stack: NewStack, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)  # as of a clone's directories
    stack = new_stack(profile, CERTS_DIR=str(tmp_path))
    stack.up()
    stack.build("doctor")
    command = ("run", "--rm", "--no-TTY", "doctor", "--ca", "certs/live/ca.pem")
    port = stack.port
    outcome = stack.compose(*command, f"wss://localhost:{port}/wss")
    assert outcome.code == 0, outcome.output
    assert "Healthy" in outcome.output
    outcome = stack.compose(*command, "--json", f"wss://localhost:{port}/nowhere")
    assert outcome.code == 1
    told = json.loads(outcome.output[outcome.output.index("{") :])
    assert told["findings"][-1]["code"] == "upgrade-404"


@pytest.mark.profiles("nginx")
def test_names_that_lead_nowhere(profile: str, new_stack: NewStack) -> None:
    stack = new_stack(profile)  # for its image alone
    stack.build("doctor")

    def told(name: str, **options: Any) -> tuple[str, set[str]]:
        # The exit code is 1, and the container's output is what counts.
        container = stack.engine.containers.run(
            stack.image("doctor"),
            ["--json", "--timeout", "1", f"wss://{name}:9/wss"],
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

    assert told("any.example", dns=["127.0.0.1"]) == ("dns-silent", set())
    only_six = {"six.example": "2001:db8::1"}
    assert told("six.example", extra_hosts=only_six) == ("tcp-unreachable", {"dns-ipv6-only", "dns-private"})
    private = {"private.example": "host-gateway"}
    assert told("private.example", extra_hosts=private) == ("tcp-refused", {"dns-private"})
