"""A short `make chaos`: nobody loses a kept message in silence while lines, workers and the hub fail."""

import asyncio
from pathlib import Path

import pytest
from chaos import rounds
from chaos.faults import FAULTS
from fixtures import NewStack
from stack import PROBE

pytestmark = [pytest.mark.profiles("nginx"), pytest.mark.long]

SHORT = ("lines are silent, then cut", "workers are killed", "the hub restarts")


def test_no_client_loses_a_kept_message_in_silence(profile: str, new_stack: NewStack, ca_file: Path) -> None:
    stack = new_stack(profile, files=PROBE, HTTPS_PORT=rounds.https_port(), **rounds.SETTINGS)
    stack.up("--scale=backend=2")
    faults = [fault for fault in FAULTS if fault.name in SHORT]
    assert len(faults) == len(SHORT)
    result = asyncio.run(rounds.run(stack, ca_file, faults, 2, rate=40, rooms=("tea", "short"), members=6))
    assert (result.lost, result.repeated) == ([], 0)
    assert result.kept > 0
