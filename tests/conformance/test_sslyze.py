"""An independent TLS scanner: sslyze checks every profile against Mozilla's policies."""

from pathlib import Path

import pytest
from chain import write_chain
from docker.errors import ContainerError
from fixtures import NewStack
from image import build
from stack import INNER_PORT, Stack

NAME = "wss.example"


@pytest.fixture(scope="session")
def sslyze() -> str:
    """The image of sslyze."""
    return build("sslyze")


def _scan(sslyze: str, stack: Stack, ca_file: Path, policy: str) -> str:
    """Return the output of sslyze; raises ContainerError if the server violates the policy."""
    options = [f"--mozilla_config={policy}", "--certinfo_ca_file=/ca.pem"]
    return stack.run_beside(sslyze, [*options, f"{NAME}:{INNER_PORT[stack.profile]}"], {"/ca.pem": ca_file})


@pytest.mark.parametrize("policy", ["intermediate", "modern"])
def test_mozillas_policy_is_met(profile: str, policy: str, sslyze: str, new_stack: NewStack, tmp_path: Path) -> None:
    certs, ca_file = tmp_path / "certs", tmp_path / "ca.pem"
    write_chain(NAME, certs, ca_file)
    stack = new_stack(profile, DOMAIN=NAME, CERTS_DIR=str(certs), TLS_POLICY=policy)
    stack.up()
    assert f"{NAME}:{INNER_PORT[profile]}: OK - Compliant." in _scan(sslyze, stack, ca_file, policy)
    if policy == "intermediate":
        # sslyze is able to report a violation.
        with pytest.raises(ContainerError, match="exit status 1"):
            _scan(sslyze, stack, ca_file, "modern")
