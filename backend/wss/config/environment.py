"""Settings come from environment variables: one dataclass per component, one field per setting."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, NamedTuple, TypeVar

Component = TypeVar("Component")

# Not str.strip, which also removes spaces of Unicode: the shell scripts of the proxies remove the same as this.
WHITE_SPACE = " \t\n\r\f\v"
_QUOTES = ("''", '""', "``", "\u2018\u2019", "\u201c\u201d", "\u201e\u201c")


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
    secret: bool = False
    """Whether the text may contain a password: then no error contains it."""


def setting(name: str, default: str, parse: Callable[[str], object], *, secret: bool = False) -> dict[str, Setting]:
    """Return the metadata of a dataclass field."""
    return {"setting": Setting(name, default, parse, secret)}


def settings_of(component: type[Any]) -> dict[str, Setting]:
    """Return the settings of a dataclass, by the name of the dataclass field."""
    return {each.name: each.metadata["setting"] for each in fields(component)}


def value_of(environment: Mapping[str, str], name: str) -> str:
    """Return the text of a variable; an empty one counts as absent, because Compose passes unset variables as empty."""
    return environment.get(name, "").strip(WHITE_SPACE)


def items(value: str) -> list[str]:
    """Split a list at its commas."""
    each = (item.strip(WHITE_SPACE) for item in value.split(","))
    return [item for item in each if item]


def read(component: type[Component], environment: Mapping[str, str]) -> Component:
    """Return the component with its settings; raises SettingError for the first one that is wrong."""
    values: dict[str, Any] = {}
    for field, (name, default, parse, secret) in settings_of(component).items():
        text = value_of(environment, name) or default
        try:
            if text[:1] + text[-1:] in _QUOTES:
                raise ValueError("the quotes are part of the value. Give it without them")
            values[field] = parse(text)
        except ValueError as error:
            raise SettingError(f"{name}={'…' if secret else repr(text)}: {error}") from None
    return component(**values)
