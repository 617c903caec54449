"""Imports the handler that ``APP=module:coroutine`` names."""

import importlib
import importlib.util
import inspect
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable
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
        found = (
            "no attribute of that name" if handler is None else f"a {type(handler).__name__} that is not a coroutine"
        )
        raise SettingError(f"APP={app!r}: {module_name} has {found}. Define `async def {attribute}(connection)` there")
    if not _can_be_called(handler, "connection"):
        raise SettingError(
            f"APP={app!r}: {attribute} cannot be called with the connection alone."
            f" Define it as `async def {attribute}(connection)`"
        )


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
            raise ValueError(
                f"there is no module {error.name!r}. Put it into handlers/ and start with --build: docs/handler.md"
            ) from None
        raise ValueError(_where(error)) from None
    except PermissionError as error:
        raise ValueError(f"{error.filename} is not readable here. Let everybody read it (chmod a+r)") from None
    except (Exception, SystemExit) as error:  # whatever the module does when it is imported
        raise ValueError(_where(error)) from None


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
    if isinstance(error, SyntaxError):
        place = f"{error.filename}, line {error.lineno}"
    else:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if not frame.filename.startswith(_LIBRARIES)]
        place = f"{(own or frames)[-1].filename}, line {(own or frames)[-1].lineno}"
    return f"{type(error).__name__}: {error} ({place})"


def _where(error: BaseException) -> str:
    advice = "Fix the module"
    if isinstance(error, ModuleNotFoundError):
        advice = f"List the package of {error.name!r} in handlers/requirements.txt, start with --build: docs/handler.md"
    return f"importing it fails with {describe(error)}. {advice}"
