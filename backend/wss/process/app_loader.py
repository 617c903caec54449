"""From ``APP=module:coroutine`` to the handler."""

import importlib
import inspect
import traceback
from types import ModuleType
from typing import cast

from wss.config.settings import SettingError
from wss.connection.connection import Handler


def load_handler(app: str) -> Handler:
    """Import the handler that APP names; raises SettingError where there is none that could be called."""
    module_name, _, attribute = app.partition(":")
    try:
        handler = getattr(_import(module_name), attribute, None)
    except ValueError as error:
        raise SettingError(f"APP={app!r}: {error}") from None
    if not inspect.iscoroutinefunction(handler):
        found = "nothing of that name" if handler is None else f"a {type(handler).__name__} that is not a coroutine"
        raise SettingError(f"APP={app!r}: {module_name} has {found}. Define `async def {attribute}(connection)` there")
    try:
        inspect.signature(handler).bind("connection")
    except TypeError:
        raise SettingError(
            f"APP={app!r}: {attribute} cannot be called with the connection alone."
            f" Define it as `async def {attribute}(connection)`"
        ) from None
    return cast(Handler, handler)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise ValueError(
                f"there is no module {error.name!r}."
                " Put it into backend/apps/ and build again, or mount the file into /app/apps/"
            ) from None
        raise ValueError(_where(error)) from None
    except PermissionError as error:
        raise ValueError(f"{error.filename} is not readable here. Let everybody read it (chmod a+r)") from None
    except Exception as error:  # whatever the module does when it is imported
        raise ValueError(_where(error)) from None


def _where(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        place = f"{error.filename}, line {error.lineno}"
    else:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{frame.filename}, line {frame.lineno}"
    return f"importing it fails with {type(error).__name__}: {error} ({place}). Mend the module"
