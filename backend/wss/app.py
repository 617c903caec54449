"""From ``APP=module:coroutine`` to the handler."""

import importlib
import inspect
from collections.abc import Awaitable, Callable
from typing import cast

from picows.websockets import ServerConnection

from wss.settings import SettingError

Handler = Callable[[ServerConnection], Awaitable[None]]


def load_handler(app: str) -> Handler:
    """Import the handler that APP names.

    Raises SettingError where there is none; an error inside the module keeps its traceback.
    """
    module_name, _, attribute = app.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise SettingError(
            f"APP={app!r}: there is no module {error.name!r}."
            " Put it into backend/apps/ and build again, or mount it into /app/apps/"
        ) from None
    handler = getattr(module, attribute, None)
    if not inspect.iscoroutinefunction(handler):
        found = "nothing of that name" if handler is None else f"a {type(handler).__name__} that is not a coroutine"
        raise SettingError(f"APP={app!r}: {module_name} has {found}. Define `async def {attribute}(connection)` there")
    return cast(Handler, handler)
