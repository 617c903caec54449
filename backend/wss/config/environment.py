"""Settings come from environment variables: one dataclass per component, one field per setting."""

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, NamedTuple, TypeVar

Component = TypeVar("Component")


class SettingError(ValueError):
    """A setting is wrong; the message names it, its value and the remedy."""


class Setting(NamedTuple):
    """The source of a value."""

    name: str
    """The environment variable."""
    default: str
    """The default, as text like in the environment."""
    parse: Callable[[str], object]
    """Converts the text to the value; raises ValueError, which names the error and what to give instead."""


def setting(name: str, default: str, parse: Callable[[str], object]) -> dict[str, Setting]:
    """Return the metadata of a dataclass field."""
    return {"setting": Setting(name, default, parse)}


def settings_of(component: type[Any]) -> dict[str, Setting]:
    """Return the settings of a dataclass, by the name of the dataclass field."""
    return {each.name: each.metadata["setting"] for each in fields(component)}


def without_password(value: str) -> str:
    """Return the value, without the password if it is a URL that has one."""
    return re.sub("//[^/@]*:.*@", "//…@", value)


def value_of(environment: Mapping[str, str], name: str) -> str:
    """Return the text of a variable; an empty one counts as absent, because Compose passes unset variables as empty."""
    return environment.get(name, "").strip()


def read(component: type[Component], environment: Mapping[str, str]) -> Component:
    """Return the component with its settings; raises SettingError for the first one that is wrong."""
    values: dict[str, Any] = {}
    for field, (name, default, parse) in settings_of(component).items():
        text = value_of(environment, name) or default
        try:
            values[field] = parse(text)
        except ValueError as error:
            raise SettingError(f"{name}={without_password(text)!r}: {error}") from None
    return component(**values)
