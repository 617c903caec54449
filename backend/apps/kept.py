"""The messages of a stream that wait to be sent, and the last ones that were sent, which can be sent again."""

import re
import sys
from collections import deque
from itertools import islice


class Kept:
    """Messages with their numbers; of those that were sent, it keeps `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._messages: deque[str | bytes] = deque()
        self._first = self._sent = 0  # the number of the first one that is kept, and of the first one to send
        self.ahead = self._behind = 0  # bytes to send, and bytes that were sent

    @property
    def count(self) -> int:
        """How many there were in all."""
        return self._first + len(self._messages)

    def add(self, message: str | bytes) -> None:
        self._messages.append(message)
        self.ahead += sys.getsizeof(message)

    def next(self) -> str | bytes:
        """Return the next message to send, and forget old ones."""
        message = self._messages[self._sent - self._first]
        self._sent += 1
        self._move(sys.getsizeof(message))
        while self._behind > self._limit:
            self._behind -= sys.getsizeof(self._messages.popleft())
            self._first += 1
        return message

    def rewind(self, received: str) -> bool:
        """Send again what comes after so many messages; return False if that is not possible."""
        number = int(received) if re.fullmatch("[0-9]{1,20}", received) else -1
        if not self._first <= number <= self._sent:
            return False
        again = islice(self._messages, number - self._first, self._sent - self._first)
        self._move(-sum(map(sys.getsizeof, again)))
        self._sent = number
        return True

    def _move(self, size: int) -> None:
        self.ahead -= size
        self._behind += size
