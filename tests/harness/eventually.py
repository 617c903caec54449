"""The only way to wait: poll a condition until a deadline, with an error that names the condition."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Result = TypeVar("Result")

# Seconds. It only ends a test that hangs. A test that checks a guaranteed duration uses `time_limit`.
LIMIT = 180.0
# Seconds between two checks: more and more, because a check may cost the engine as much as what it waits for.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.4


def eventually(check: Callable[[], Result | None], what: str, timeout: float = LIMIT) -> Result:
    """Call `check` until it returns a true value, and return that value; fail after `timeout` seconds.

    An AssertionError or OSError in `check` counts as "not yet"; after the deadline the last one is the cause.
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


async def until(check: Callable[[], object | Awaitable[object]], what: str) -> None:
    """Wait until `check`, or what it returns and is awaited, is true, while the tasks of the event loop go on."""
    try:
        async with asyncio.timeout(LIMIT):
            while True:
                result = check()
                if await result if isinstance(result, Awaitable) else result:
                    return
                await asyncio.sleep(FIRST_PAUSE)  # the condition above decides
    except TimeoutError:
        raise AssertionError(f"not within {LIMIT:.0f} s: {what}") from None
