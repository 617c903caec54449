"""The only way to wait: for a condition, with a deadline, and an error that reports what did not happen."""

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

# Seconds. For what hangs, not for what is slow: a test that measures a promised time does so with `promise`.
LIMIT = 180.0
# Seconds between two checks: more and more, because a check may cost the engine as much as what it waits for.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.4


def eventually(check: Callable[[], Result | None], what: str, timeout: float = LIMIT) -> Result:
    """Return the first true value of `check`, asked again until `timeout` seconds are over.

    An AssertionError or OSError of `check` counts as not yet; at the deadline the last one is the cause.
    """
    deadline = time.monotonic() + timeout
    pause = FIRST_PAUSE
    while True:
        cause: Exception | None = None
        try:
            if result := check():
                return result
        except (AssertionError, OSError) as error:
            cause = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:.0f} s: {what}") from cause
        time.sleep(pause)  # the condition above decides
        pause = min(1.2 * pause, LONGEST_PAUSE)
