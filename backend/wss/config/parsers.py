"""Parsers of settings: from text to value. A ValueError names the error and what to give instead."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from wss.config.environment import items

# Seconds: shorter than worker_shutdown_timeout in nginx.conf.
MAX_DRAIN = 12 * 3600


def name(value: str) -> str | None:
    return value or None


_HANDLER = re.compile(r"[A-Za-z_]\w*(\.\w+)*:[A-Za-z_]\w*")


def handler(value: str) -> str:
    if _HANDLER.fullmatch(value):
        return value
    module, _, attribute = value.strip("/").partition(":")
    likely = f"{module.removesuffix('.py').replace('/', '.')}:{attribute.removesuffix('()') or 'handler'}"
    example = likely if _HANDLER.fullmatch(likely) else "apps.echo:handler"
    raise ValueError(f"not a handler. Give module:coroutine, for example APP={example}")


def ws_paths(value: str) -> tuple[str, ...]:
    """Parse the paths of the backend's WebSocket."""
    parsed = paths(value)
    if own := {"/healthz", "/readyz"}.intersection(parsed):
        raise ValueError(f"the server itself answers {min(own)}. Give another path")
    return parsed


def paths(value: str) -> tuple[str, ...]:
    paths = tuple(items(value))
    if (value and not paths) or not all(re.fullmatch(r"/[!$&-)+-;=@-Z_a-z~]*\*?", path) for path in paths):
        raise ValueError(
            "not a list of paths. Give them as they stand in the URL, with a * at the end for all that start so,"
            " for example /wss,/chat/*"
        )
    if len(value) > 1000:
        raise ValueError(f"{len(value)} characters, and 1000 are the max. Give prefixes, such as /chat/*")
    if dotted := [path for path in paths if re.search(r"/\.{1,2}(/|$)", path)]:
        raise ValueError(f"clients remove the segments . and .. from {dotted[0]!r}. Give the path without them")
    return paths


def idle_timeout(value: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,4}", value, re.ASCII) or not 10 <= int(value) <= 86400:
        raise ValueError("not a time. Give 10 to 86400 seconds, as a whole number")
    return int(value)


def proxy_connections(value: str) -> int:
    # net.ipv4.ip_local_port_range in compose.yaml: 64,512 connections to one address of the upstream.
    if not re.fullmatch(r"[1-9]\d{0,4}", value, re.ASCII) or int(value) > 60000:
        raise ValueError("not a number of connections. Give 1 to 60000; a proxy has no ports for more of them")
    return int(value)


def spread(value: str) -> float:
    if not re.fullmatch(r"\d(\.\d{1,3})?", value, re.ASCII) or float(value) > 5:
        raise ValueError("not a time. Give 0 to 5 seconds: the spread must be shorter than a stop may take")
    return float(value)


def drain(value: str) -> int:
    """Return seconds. The unit is required: compose.yaml and proxy/start pass the text on."""
    parts = re.fullmatch(r"([1-9]\d{0,4})([smh])", value, re.ASCII)
    seconds = int(parts[1]) * {"s": 1, "m": 60, "h": 3600}[parts[2]] if parts else 0
    if (not seconds and value != "0") or seconds > MAX_DRAIN:
        raise ValueError("not a time. Give 1s to 12h, for example 90s, 30m or 2h; or 0")
    return seconds


def drain_spread(value: str) -> int | None:
    return drain(value) if value else None


def subprotocols(value: str) -> tuple[str, ...]:
    names = tuple(items(value))
    if not all(re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) for name in names):
        raise ValueError("not a list of subprotocols. Give their names, separated by commas, for example mqtt")
    return names


# proxy/settings has the same words.
_ON = ("on", "true", "yes", "1")
_OFF = ("off", "false", "no", "0")


def switch(value: str) -> bool:
    word = value.lower()
    if word not in (*_ON, *_OFF):
        raise ValueError("neither on nor off. Give one of them (true, yes, 1 and false, no, 0 mean the same)")
    return word in _ON


def _word(value: str, words: Iterable[str], error: str) -> str:
    """Return a word in lower case."""
    if not value.isascii() or value.lower() not in words:
        raise ValueError(error)
    return value.lower()


def is_modern_tls_policy(value: str) -> bool:
    error = "not a policy. Give intermediate (TLS 1.2 and 1.3) or modern (1.3 alone)"
    return _word(value, ("intermediate", "modern"), error) == "modern"


def size(value: str) -> int:
    parts = re.fullmatch(r"([1-9]\d{0,9})([KM]?)", value, re.ASCII)
    size = int(parts[1]) * {"": 1, "K": 1024, "M": 1024 * 1024}[parts[2]] if parts else 0
    if not 1 <= size <= 1024 * 1024 * 1024:
        raise ValueError("not a size. Give 1 to 1024M bytes, for example 65536, 64K or 1M")
    return size


def size_or_off(value: str) -> int | None:
    if value == "off":
        return None
    try:
        return size(value)
    except ValueError as error:
        raise ValueError(f"{error}, or off") from None


def header_size(value: str) -> int:
    # picows resets the connection if a header is larger.
    if not 1024 <= size(value) <= 16 * 1024:
        raise ValueError("not the size of a header. Give 1K to 16K bytes")
    return size(value)


def count(value: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,8}", value, re.ASCII):
        raise ValueError("not a count. Give a whole number from 1")
    return int(value)


def count_or_off(value: str) -> int | None:
    if value.lower() in _OFF and value != "0":  # which could also mean: none at all
        return None
    try:
        return count(value)
    except ValueError as error:
        raise ValueError(f"{error}, or off") from None


def seconds(value: str) -> float:
    if not re.fullmatch(r"\d{1,4}(\.\d{1,3})?", value, re.ASCII) or not 0.1 <= float(value) <= 3600:
        raise ValueError("not a time. Give 0.1 to 3600 seconds, for example 20")
    return float(value)


def log_format(value: str) -> str:
    error = "not a log format. Give json, text, or auto (text if stderr is a terminal, else json)"
    return _word(value, ("auto", "json", "text"), error)


def token(value: str) -> str | None:
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("not a token. Give printable ASCII characters without spaces")
    return value or None


def log_level(value: str) -> int:
    levels = {"debug": 10, "info": 20, "warning": 30, "error": 40}
    return levels[_word(value, levels, f"not a level. Give {', '.join(levels)}")]


def processes(value: str) -> int:
    if value.lower() == "auto":
        return len(os.sched_getaffinity(0))
    if not re.fullmatch(r"[1-9]\d{0,2}", value, re.ASCII) or int(value) > 512:
        raise ValueError("not a number of processes. Give 1 to 512, or auto for one per core")
    return int(value)


def path(value: str) -> Path | None:
    return Path(value) if value else None
