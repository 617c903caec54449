"""The Valkey client of the hub, and the check at the start that the hub is reachable."""

import asyncio
import os
import time
from pathlib import Path

from valkey.asyncio import Valkey
from valkey.exceptions import AuthenticationError, ResponseError, ValkeyError

from wss.config.environment import WHITE_SPACE, SettingError
from wss.config.settings import Settings

# Seconds until an attempt to connect, or a command, fails.
TIMEOUT = 5.0
# Seconds that the hub has to respond at the start of the server.
START_TIMEOUT = 10.0
# Seconds between two attempts to connect, at first.
FIRST_PAUSE = 0.1

FAILURES = (ValkeyError, OSError)


def open_client(settings: Settings) -> Valkey:
    """Return a client that connects with its first command. By default it does not retry: nothing is sent twice.

    Raises SettingError if the file with the password cannot be used.
    """
    assert settings.hub
    return Valkey(
        host=settings.hub.host,
        port=settings.hub.port,
        db=settings.hub.database,
        username=settings.hub.username,
        password=settings.hub.password or _password(settings.hub_password_file),
        socket_connect_timeout=TIMEOUT,
        socket_timeout=TIMEOUT,
    )


def _password(file: Path | None) -> str | None:
    """Return the password in a file, without white space around it, as hub/start reads it; None without a file."""
    try:
        return file.read_text().strip(WHITE_SPACE) if file else None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SettingError(
            f"HUB_PASSWORD_FILE={str(file)!r}: not readable ({reason})."
            f" Give a text file that user {os.getuid()} may read"
        ) from None


async def wait_until_reachable(settings: Settings) -> None:
    """Return when the hub responds. Raises SettingError if it does not within START_TIMEOUT, or rejects us."""
    shown = f"HUB={str(settings.hub)!r}"
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            async with open_client(settings) as client:
                await client.ping()
                return
        except (AuthenticationError, ResponseError) as error:
            raise SettingError(
                f"{shown}: the hub rejects the connection ({error}). Give HUB=valkey://:password@host"
            ) from None
        except FAILURES as error:
            if time.monotonic() > deadline:
                raise SettingError(
                    f"{shown}: the hub does not respond ({error}). Start it (`--profile hub`), or correct the address"
                ) from None
        await asyncio.sleep(FIRST_PAUSE)
