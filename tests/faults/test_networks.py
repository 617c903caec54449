"""The stack works in any range of addresses that Docker, or an operator, chooses for its networks."""

import json
import random
from pathlib import Path

import pytest
from client import target_of
from closing import close_code
from fixtures import Connect, NewStack
from stack import REPOSITORY

pytestmark = pytest.mark.long

# RFC 6598, and RFC 2544, which is not private for the module ipaddress, nor was it in a list of ours.
RANGES = {"nginx": "100.{}.{}.{}/28", "apache": "198.18.{1}.{2}/28"}
SERVICE_RESTART = 1012


@pytest.mark.profiles("nginx", "apache")
def test_clients_have_their_own_address_in_any_range(
    profile: str, new_stack: NewStack, tmp_path: Path, ca_file: Path, connect: Connect
) -> None:
    # At random, because several runs share this machine.
    numbers = random.randint(64, 127), random.randrange(256), random.randrange(0, 256, 16)  # noqa: S311
    subnet = RANGES[profile].format(*numbers)
    override = tmp_path / "subnet.yaml"
    override.write_text(f"networks: {{inner: {{ipam: {{config: [{{subnet: {subnet}}}]}}}}}}\n")
    stack = new_stack(profile, files=(REPOSITORY / "compose.yaml", override), APP="apps.whoami:handler")
    stack.up()
    ws = connect(target_of(stack, ca_file))
    ws.send("who am I?")
    # Connections to the published loopback port reach the containers from the bridge's address.
    assert json.loads(ws.recv())["client"] == stack.gateway
    assert stack.compose("stop", profile).code == 0
    assert close_code(ws) == SERVICE_RESTART
