"""Loading the handler that APP names."""

import sys
from pathlib import Path

import pytest
from wss.config.environment import SettingError
from wss.process.app_loader import load_application


def test_the_example_handlers_are_loaded() -> None:
    for name in ("ok", "echo", "whoami", "relay"):
        assert load_application(f"apps.{name}:handler").handler.__name__ == "handler"


@pytest.mark.parametrize(
    ("app", "complaint"),
    [
        ("apps.nope:handler", "there is no module 'apps.nope'"),
        ("nope.nope:handler", "there is no module 'nope'"),
        ("apps.ok:nope", "has no attribute of the name 'nope'"),
        ("apps.ok:Connection", "Connection in apps.ok is a class, not a coroutine function"),
    ],
)
def test_an_app_that_is_not_a_handler_is_an_error_with_the_reason(app: str, complaint: str) -> None:
    with pytest.raises(SettingError, match=complaint):
        load_application(app)


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        # Not "there is no module": the file exists, but its own import fails.
        ("import no_such_package", r"No module named 'no_such_package' \(.*needy\.py, line 1\)"),
        ("def handler(:", r"importing it fails with SyntaxError: [a-z ]+ \(\S*needy\.py, line 1\)\. Fix the module"),
        ("1 / 0", r"ZeroDivisionError: division by zero \(.*needy\.py, line 1\)"),
        ("async def handler(): ...", "cannot be called with the connection alone"),
        (
            "class Handler:\n    def __call__(self, connection): ...\n\nhandler = Handler()",
            "is an object of the class Handler whose __call__ is without async, not a coroutine function",
        ),
        ("class H: ...\n\nhandler = H()", "handler in needy is an object of the class H, not a coroutine function"),
        ("def handler(connection): ...", "handler in needy is a function without async, not a coroutine function"),
        ("import json as handler", "handler in needy is a module, not a coroutine function"),
        ("handler = None", "needy has no attribute of the name 'handler'"),
        ("if True:\npass", r"IndentationError: expected an indented block.* \(\S*needy\.py, line 2\)\. Fix"),
        ("x = 'é", r"SyntaxError: unterminated string literal.* \(\S*needy\.py, line 1\)\. Fix"),
        ("import json\njson.loads('')", r"JSONDecodeError: .* \(\S*needy\.py, line 2\)\. Fix"),
        ("exec('1 +')", r"SyntaxError: invalid syntax \(\S*needy\.py, line 1\)\. Fix"),
        ("raise ValueError('two\\nlines')", r"ValueError: two lines \(\S*needy\.py, line 1\)\. Fix"),
        ("import sys; sys.exit(3)", r"SystemExit: 3 \(\S*needy\.py, line 1\)\. Fix"),
        ("class Handler:\n    async def __call__(self): ...\n\nhandler = Handler()", "cannot be called with"),
    ],
)
def test_an_error_in_the_module_is_reported_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, complaint: str
) -> None:
    (tmp_path / "needy.py").write_text(source + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "needy", raising=False)
    with pytest.raises(SettingError, match=complaint):
        load_application("needy:handler")


def test_an_object_that_is_called_as_a_coroutine_is_a_handler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "class Handler:\n    async def __call__(self, connection): ...\n\n\nhandler = Handler()\n"
    (tmp_path / "an_object.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    assert type(load_application("an_object:handler").handler).__name__ == "Handler"


def test_a_module_in_handlers_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "handlers").mkdir()
    (tmp_path / "handlers" / "shout.py").write_text("async def handler(connection): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "handlers", raising=False)
    with pytest.raises(SettingError, match=r"there is no module 'shout'\. It is in handlers/\. Give handlers\.shout"):
        load_application("shout:handler")
    with pytest.raises(SettingError, match=r"there is no module 'whisper'\. Put it into handlers/"):
        load_application("whisper:handler")
