"""A survey to all workers that have something to say, and their answers, as the hub brings them."""

import asyncio
from typing import Any


class Survey:
    """Open until as many have answered as it has reached."""

    def __init__(self) -> None:
        self.answered = asyncio.Event()
        self.answers: list[Any] = []
        self.replied = 0
        self.reached = -1

    def add_reply(self, *answer: Any) -> None:
        self.answers += answer
        self.replied += 1
        self.expect(self.reached)

    def expect(self, number: int) -> None:
        self.reached = number
        if self.replied >= number >= 0:
            self.answered.set()
