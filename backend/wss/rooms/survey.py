"""A survey of other workers: a question, and the replies that the hub delivers."""

import asyncio
from typing import Any


class Survey:
    """Collects replies until as many workers have replied as the question has reached."""

    def __init__(self) -> None:
        self.complete = asyncio.Event()
        self.replies: list[Any] = []
        self.replied = 0
        self.expected = -1  # not known yet

    def add_reply(self, *reply: Any) -> None:
        self.replies += reply
        self.replied += 1
        self.expect(self.expected)

    def expect(self, number: int) -> None:
        self.expected = number
        if self.replied >= number >= 0:
            self.complete.set()
