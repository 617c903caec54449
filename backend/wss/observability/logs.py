"""The log format: JSON lines on standard error, or text if it is a terminal.

All messages go through the standard library's logging. structlog only renders them, so that data from clients cannot
break a line: https://www.structlog.org/en/stable/standard-library.html
"""

import logging
import sys
from contextvars import ContextVar

import structlog
from structlog.typing import EventDict, Processor

from wss.config.settings import Settings

# The id of the connection whose handler runs: in each line that the handler, or what it calls, logs.
current_connection: ContextVar[str] = ContextVar("current_connection", default="")


def start_logging(settings: Settings) -> None:
    """Send what is logged to standard error: by this package, by the handler and by libraries, from LOG_LEVEL on."""
    text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
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
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(settings.log_level)


def _add_connection(_logger: object, _method: str, event: EventDict) -> EventDict:
    if id_ := current_connection.get():
        event["id"] = id_
    return event


def _add_process(_logger: object, _method: str, event: EventDict) -> EventDict:
    record: logging.LogRecord = event["_record"]
    event["process"] = record.process
    return event
