"""The log format: JSON lines on standard error, or text if it is a terminal.

All messages go through the standard library's logging. structlog only renders them, so that data from clients cannot
break a line: https://www.structlog.org/en/stable/standard-library.html
"""

import asyncio
import json
import logging
import os
import select
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

from wss.config.settings import Settings

# The id of the connection whose handler runs: in each line that the handler, or what it calls, logs.
current_connection: ContextVar[str] = ContextVar("current_connection", default="")

# Seconds for which a message waits for others, and how many are logged together at most: that blocks the event loop.
BATCH_DELAY = 0.1
MAX_BATCH = 100
# What every record has; the rest is `extra`.
_ATTRIBUTES = frozenset(logging.makeLogRecord({}).__dict__)


def start_logging(settings: Settings) -> None:
    """Send what is logged to standard error: by this package, by the handler and by libraries, from LOG_LEVEL on."""
    text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        _add_time,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _add_process,
        _add_connection,
        structlog.stdlib.ExtraAdder(),
    ]
    render: list[Processor] = (
        [structlog.dev.ConsoleRenderer(timestamp_key="time", colors=sys.stderr.isatty())]
        if text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    formatter = structlog.stdlib.ProcessorFormatter if text else JsonFormatter
    handler = BatchHandler(sys.stderr)
    handler.setFormatter(
        formatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(settings.log_level)


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


class JsonFormatter(structlog.stdlib.ProcessorFormatter):
    """Renders what the processors render, in one step if there is no traceback: a third of the time."""

    _as_json = json.JSONEncoder(default=repr).encode

    def format(self, record: logging.LogRecord) -> str:
        if record.exc_info or record.stack_info or isinstance(record.msg, dict):  # a dict: of structlog itself
            return super().format(record)
        event: dict[str, Any] = {
            "event": record.getMessage(),
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
        }
        if id_ := current_connection.get():
            event["id"] = id_
        event |= {key: value for key, value in record.__dict__.items() if key not in _ATTRIBUTES}
        return self._as_json(event)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")


def _add_time(_logger: object, _method: str, event: EventDict) -> EventDict:
    event["time"] = _time(event["_record"])
    return event


def _add_connection(_logger: object, _method: str, event: EventDict) -> EventDict:
    if id_ := current_connection.get():
        event["id"] = id_
    return event


def _add_process(_logger: object, _method: str, event: EventDict) -> EventDict:
    record: logging.LogRecord = event["_record"]
    event["process"] = record.process
    return event
