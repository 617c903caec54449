"""JsonFormatter renders the same lines as the processors of structlog that it takes the place of."""

import datetime
import io
import json
import logging
from contextvars import ContextVar
from typing import Any

import pytest
import structlog
from wss.config.settings import read_settings
from wss.observability import logs


@pytest.mark.parametrize("identity", ["", "4711"])
@pytest.mark.parametrize(
    ("message", "arguments", "extra"),
    [
        ("%s of %d", ("one", 2), {}),
        ("%(a)s", ({"a": "b"},), {}),
        ("closed", (), {"id": "0815", "client": "192.0.2.1", "seconds": 0.5, "code": 1006}),
        ("100 %", (), {"event": "another", "time": 3, "object": object, "date": datetime.date(2026, 1, 1)}),
        ("a\nb\u2028", (), {"text": '"\\\x00\ud800'}),
    ],
)
def test_a_line_is_the_same_in_one_step(
    monkeypatch: pytest.MonkeyPatch, message: str, arguments: Any, extra: dict[str, Any], identity: str
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr("sys.stderr", io.StringIO())
    level = logging.getLogger().level
    logs.start_logging(read_settings({"LOG_FORMAT": "json"}))
    logging.getLogger().setLevel(level)
    formatter = logging.getLogger().handlers[0].formatter
    assert isinstance(formatter, logs.JsonFormatter)
    monkeypatch.setattr(logs, "current_connection", ContextVar("id", default=identity))
    record = logging.getLogger("wss").makeRecord("wss", logging.WARNING, "f", 1, message, arguments, None, "f", extra)
    in_one_step = json.loads(formatter.format(record))
    in_many = json.loads(structlog.stdlib.ProcessorFormatter.format(formatter, record))
    assert len(str(in_one_step.pop("time"))) == len(str(in_many.pop("time")))
    assert list(in_one_step.items()) == list(in_many.items())
