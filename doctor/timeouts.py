"""A timeout for calls that have none of their own."""

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def run_with_timeout(seconds: float, call: Callable[[], Result]) -> Result:
    """Return what `call` returns, or raise what it raises; after a TimeoutError, its thread may still run."""
    outcome: queue.SimpleQueue[tuple[Result | None, Exception | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcome.put((call(), None))
        except Exception as error:  # raised again in the caller's thread
            outcome.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = outcome.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error:
        raise error
    return result  # type: ignore[return-value]  # without an error there is a result
