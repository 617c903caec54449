"""The contract's tests against a deployment that is already up, in a run of their own."""

import os
import subprocess
import sys

from client import Target
from run import RUN
from stack import REPOSITORY


def assert_contract_holds(target: Target) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "--numprocesses=0", "--no-header", "tests/e2e"]
    done = subprocess.run(
        [*command, f"--url={target.url}", f"--ca={target.ca}"],
        cwd=REPOSITORY,
        # In the run of this process, it would wait at its end for the end of this process.
        env={name: value for name, value in os.environ.items() if name != RUN},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
