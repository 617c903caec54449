"""The log format: JSON lines on standard error, or text if it is a terminal.

All messages go through the standard library's logging. structlog only renders them, so that data from clients cannot
break a line: https://www.structlog.org/en/stable/standard-library.html
"""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from wss.config.settings import Settings
from wss.observability.log_batches import BatchHandler

# The id of the connection whose handler runs: in each line that the handler, or what it calls, logs.
current_connection: ContextVar[str] = ContextVar("current_connection", default="")

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
