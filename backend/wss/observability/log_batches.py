"""Messages that are logged together: the line of each connection that ends."""

import asyncio
import logging
import os
import select
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TextIO

# Seconds for which a message waits for others, and how many are logged together at most: that blocks the event loop.
BATCH_DELAY = 0.1
MAX_BATCH = 100


class _BatchedRecord(logging.LogRecord):
    """A record that is written together with others."""


@dataclass(slots=True)
class _Waiting:
    """A message of level INFO that becomes a record later."""

    logger: logging.Logger
    message: str
    extra: dict[str, Any]
    created: float

    def log(self) -> None:
        record = _BatchedRecord(self.logger.name, logging.INFO, __file__, 0, self.message, (), None)
        record.__dict__.update(self.extra, created=self.created, msecs=self.created % 1 * 1000)
        self.logger.handle(record)


def log_batched(logger: logging.Logger, message: str, **extra: Any) -> None:
    """Log at level INFO, with the fields of `extra`: together with other messages, up to BATCH_DELAY seconds later.

    Each connection logs a line at its end. Logged by itself, this line would be a third of the work for a client.
    """
    if logger.isEnabledFor(logging.INFO):
        waiting = _Waiting(logger, message, extra, time.time())
        for handler in logging.getLogger().handlers:
            if isinstance(handler, BatchHandler):
                handler.add(waiting)
                return
        waiting.log()


class BatchHandler(logging.StreamHandler[TextIO]):
    """Writes records in the order in which they come: each at once, except for what it gets from `log_batched`."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waiting: deque[_Waiting] = deque()
        self._batch: list[logging.LogRecord] = []
        os.register_at_fork(after_in_child=self._waiting.clear)  # the parent writes them

    def add(self, waiting: _Waiting) -> None:
        self._waiting.append(waiting)
        if len(self._waiting) == 1:
            try:
                asyncio.get_running_loop().call_later(BATCH_DELAY, self.flush)
            except RuntimeError:  # nothing would log it later
                self.flush()
        elif len(self._waiting) >= MAX_BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what waits. logging calls this, too, when the process exits."""
        self._log_waiting()
        self.acquire()
        try:
            self._write_batch()
            super().flush()
        finally:
            self.release()

    def handle(self, record: logging.LogRecord) -> bool:
        if not isinstance(record, _BatchedRecord):
            self._log_waiting()
        return bool(super().handle(record))

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record, _BatchedRecord):
            self._batch.append(record)
        else:
            self._write_batch()
            super().emit(record)

    def _log_waiting(self) -> None:
        # All handlers get them. Not with the lock of this one: another thread may have that of another, and log.
        while self._waiting:
            try:
                waiting = self._waiting.popleft()
            except IndexError:  # another thread was faster
                return
            waiting.log()

    def _write_batch(self) -> None:
        batch, self._batch = self._batch, []
        try:
            for text in _joined(f"{self.format(record)}{self.terminator}" for record in batch):
                self.stream.write(text)
        except Exception:
            self.handleError(batch[-1])


def _joined(lines: Iterable[str]) -> Iterator[str]:
    """Join lines to texts that a pipe keeps in one piece (pipe(7): PIPE_BUF): all workers write to the same one."""
    text = ""
    for line in lines:
        if text and len(text) + len(line) > select.PIPE_BUF:
            yield text
            text = ""
        text += line
    if text:
        yield text
