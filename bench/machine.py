"""What the machine does beside the bench."""

import os
import time
from pathlib import Path

SECONDS = 3.0


def busy_cores() -> float:
    """Return the number of cores in use, over a few seconds in which the bench itself does nothing."""
    before, began = _idle(), time.monotonic()
    time.sleep(SECONDS)
    return (os.cpu_count() or 1) - (_idle() - before) / (time.monotonic() - began)


def _idle() -> float:
    """Return the idle seconds of all cores since the boot (proc_uptime(5))."""
    return float(Path("/proc/uptime").read_text().split()[1])
