"""Loading the handler that APP names."""

import sys
from pathlib import Path

import pytest
from wss.config.environment import SettingError
from wss.process.app_loader import load_application


def test_the_example_handlers_are_loaded() -> None:
    for name in ("ok", "echo", "whoami"):
        assert load_application(f"apps.{name}:handler").handler.__name__ == "handler"


@pytest.mark.parametrize(
    ("app", "complaint"),
    [
        ("apps.nope:handler", "there is no module 'apps.nope'"),
        ("nope.nope:handler", "there is no module 'nope'"),
        ("apps.ok:nope", "has no attribute of that name"),
        ("apps.ok:Connection", "is not a coroutine"),
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
        ("def handler(:", r"SyntaxError: .*needy\.py, line 1\)\. Fix the module"),
        ("1 / 0", r"ZeroDivisionError: division by zero \(.*needy\.py, line 1\)"),
        ("async def handler(): ...", "cannot be called with the connection alone"),
        ("class Handler:\n    def __call__(self, connection): ...\n\nhandler = Handler()", "that is not a coroutine"),
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
