"""From APP to the handler."""

from pathlib import Path

import pytest
from wss.app import load_handler
from wss.settings import SettingError


def test_the_examples_are_found() -> None:
    for name in ("ok", "echo", "whoami"):
        assert load_handler(f"apps.{name}:handler").__name__ == "handler"


@pytest.mark.parametrize(
    ("app", "complaint"),
    [
        ("apps.nope:handler", "there is no module 'apps.nope'"),
        ("nope.nope:handler", "there is no module 'nope'"),
        ("apps.ok:nope", "has nothing of that name"),
        ("apps.ok:Connection", "is not a coroutine"),
    ],
)
def test_what_is_no_handler_is_named(app: str, complaint: str) -> None:
    with pytest.raises(SettingError, match=complaint):
        load_handler(app)


def test_a_module_that_lacks_a_package_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not "there is no such module": the file is there, and its own import is what fails.
    (tmp_path / "needy.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        load_handler("needy:handler")
