"""A time limit for code of the user, also for code that blocks."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class StartTimeoutError(Exception):
    """Code of the user takes too long at the start."""


@contextmanager
def time_limit(seconds: int, message: str) -> Iterator[None]:
    """Raise StartTimeoutError with a message in code that still runs after this time.

    Only in the main thread, because only there a signal can be handled.
    """

    def expire(_number: int, _frame: object) -> None:
        raise StartTimeoutError(message)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGALRM, expire)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
