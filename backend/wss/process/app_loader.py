"""Imports the handler that ``APP=module:coroutine`` names."""

import importlib
import importlib.util
import inspect
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import cast

from wss.application import Application
from wss.config.environment import SettingError
from wss.connection.connection import Handler
from wss.process.time_limit import time_limit

# Seconds. A module that starts a server when it is imported would never end.
IMPORT_TIMEOUT = 30


# What a user did not write: frozen modules, the standard library, installed packages, this server.
_LIBRARIES = ("<frozen", sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), str(Path(__file__).parents[1]))


def load_application(app: str) -> Application:
    """Import the handler that APP names, and what its module has beside it.

    Raises SettingError if one of them cannot be used.
    """
    module_name, _, attribute = app.partition(":")
    try:
        module = _import(module_name)
    except ValueError as error:
        raise SettingError(f"APP={app!r}: {error}") from None
    handler = getattr(module, attribute, None)
    _check_handler(app, module_name, attribute, handler)
    for name, call in (("process_request", ("connection", "request")), ("lifespan", ())):
        if (beside := getattr(module, name, None)) is not None and not _can_be_called(beside, *call):
            raise SettingError(f"APP={app!r}: {name} in {module_name} cannot be called as {name}({', '.join(call)})")
    return Application(
        cast(Handler, handler), getattr(module, "process_request", None), getattr(module, "lifespan", None)
    )


def _can_be_called(function: object, *arguments: str) -> bool:
    try:
        inspect.signature(cast(Callable[..., object], function)).bind(*arguments)
    except (TypeError, ValueError):
        return False
    return True


def _check_handler(app: str, module_name: str, attribute: str, handler: object) -> None:
    if not (
        inspect.iscoroutinefunction(handler)
        or inspect.iscoroutinefunction(inspect.getattr_static(type(handler), "__call__", None))
    ):
        raise SettingError(
            f"APP={app!r}: {_kind(module_name, attribute, handler)}. Define `async def {attribute}(connection)` there"
        )
    if not _can_be_called(handler, "connection"):
        raise SettingError(
            f"APP={app!r}: {attribute} cannot be called with the connection alone."
            f" Define it as `async def {attribute}(connection)`"
        )


def _kind(module_name: str, attribute: str, found: object) -> str:
    """Return what a module has in place of a handler."""
    if found is None:
        return f"{module_name} has no attribute of the name {attribute!r}"
    kind = f"an object of the class {type(found).__name__}"
    if inspect.isclass(found):
        kind = "a class"
    elif inspect.isroutine(found):
        kind = "a function without async"
    elif inspect.ismodule(found):
        kind = "a module"
    elif callable(found):
        kind += " whose __call__ is without async"
    return f"{attribute} in {module_name} is {kind}, not a coroutine function"


def _import(name: str) -> ModuleType:
    try:
        with time_limit(
            IMPORT_TIMEOUT,
            f"it takes over {IMPORT_TIMEOUT} s. If it starts a server or a loop,"
            " move that below `if __name__ == '__main__':`",
        ):
            _let_siblings_import(name)
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if directory := _unreadable_directory(name):
            raise ValueError(f"{directory} is not readable here. Let everybody read it (chmod a+rx)") from None
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise ValueError(f"there is no module {error.name!r}. {_remedy(name)}") from None
        raise ValueError(_where(error)) from None
    except PermissionError as error:
        raise ValueError(f"{error.filename} is not readable here. Let everybody read it (chmod a+r)") from None
    except (Exception, SystemExit) as error:  # whatever the module does when it is imported
        raise ValueError(_where(error)) from None


def _remedy(name: str) -> str:
    with suppress(ImportError):
        if not name.startswith("handlers.") and importlib.util.find_spec(f"handlers.{name}"):
            return f"It is in handlers/. Give handlers.{name} in its place"
    return "Put it into handlers/ and start with --build: docs/handler.md"


def _let_siblings_import(name: str) -> None:
    """Let a module import files beside it by their names, as it could if it was started as a program."""
    spec = importlib.util.find_spec(name)
    if spec and spec.origin and (directory := str(Path(spec.origin).parent)) not in sys.path:
        sys.path.append(directory)


def _unreadable_directory(name: str) -> Path | None:
    """Return the first directory on the way to a module that exists and cannot be read."""
    for start in map(Path, sys.path):
        directory = start
        for part in name.split(".")[:-1]:
            directory /= part
            if directory.is_dir() and not os.access(directory, os.R_OK | os.X_OK):
                return directory
    return None


def describe(error: BaseException) -> str:
    """Return class, text and place of an error of a user's module, in one line.

    The place is the last one that is not in a library: an error in one is not mended there.
    """
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    own = [frame for frame in frames if not frame[0].startswith(_LIBRARIES)]
    file, line = (own or frames)[-1]
    text = str(error)
    if isinstance(error, SyntaxError):  # its text is without the place
        text = error.msg
        if error.filename and Path(error.filename).exists():
            file, line = error.filename, error.lineno
    return f"{type(error).__name__}: {' '.join(text.split())} ({file}, line {line})"


def _where(error: BaseException) -> str:
    advice = "Fix the module"
    if isinstance(error, ModuleNotFoundError):
        advice = f"List the package of {error.name!r} in handlers/requirements.txt, start with --build: docs/handler.md"
    return f"importing it fails with {describe(error)}. {advice}"
