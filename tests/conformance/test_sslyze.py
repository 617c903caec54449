"""A judge of TLS that we did not write: sslyze, with Mozilla's policies, through every profile."""

import subprocess
from pathlib import Path

import pytest
from chain import write_chain
from docker.errors import ContainerError
from fixtures import NewStack
from stack import INNER_PORT, REPOSITORY, Stack

NAME = "wss.example"


@pytest.fixture(scope="session")
def judge() -> str:
    """The image of sslyze."""
    image = "wss-sslyze"
    subprocess.run([REPOSITORY / "tools" / "engine"], check=True)
    subprocess.run(["docker", "build", "--quiet", "--tag", image, Path(__file__).parent / "sslyze"], check=True)
    return image


def _verdict(judge: str, stack: Stack, ca_file: Path, policy: str) -> str:
    """Return what sslyze says; raises ContainerError where it finds the policy broken."""
    options = [f"--mozilla_config={policy}", "--certinfo_ca_file=/ca.pem"]
    return stack.run_beside(judge, [*options, f"{NAME}:{INNER_PORT[stack.profile]}"], {"/ca.pem": ca_file})


@pytest.mark.parametrize("policy", ["intermediate", "modern"])
def test_mozillas_policy_is_met(profile: str, policy: str, judge: str, new_stack: NewStack, tmp_path: Path) -> None:
    certs, ca_file = tmp_path / "certs", tmp_path / "ca.pem"
    write_chain(NAME, certs, ca_file)
    stack = new_stack(profile, DOMAIN=NAME, CERTS_DIR=str(certs), TLS_POLICY=policy)
    stack.up()
    assert f"{NAME}:{INNER_PORT[profile]}: OK - Compliant." in _verdict(judge, stack, ca_file, policy)
    if policy == "intermediate":
        # The judge can say no, too.
        with pytest.raises(ContainerError, match="exit status 1"):
            _verdict(judge, stack, ca_file, "modern")
