"""The Valkey client of the hub, and the check at the start that the hub is reachable."""

import asyncio
import time

from valkey.asyncio import Valkey
from valkey.exceptions import AuthenticationError, ResponseError, ValkeyError

from wss.config.environment import SettingError, without_password
from wss.config.settings import Settings

# Seconds until an attempt to connect, or a command, fails.
TIMEOUT = 5.0
# Seconds that the hub has to respond at the start of the server.
START_TIMEOUT = 10.0
# Seconds between two attempts to connect, at first.
FIRST_PAUSE = 0.1

FAILURES = (ValkeyError, OSError)


def open_client(settings: Settings) -> Valkey:
    assert settings.hub
    password = None
    if settings.hub_password_file and settings.hub_password_file.exists():
        password = settings.hub_password_file.read_text().strip()
    # A password in the URL overrides this one. By default the client does not retry, so that nothing is sent twice.
    return Valkey.from_url(  # type: ignore[no-any-return]
        settings.hub, password=password, socket_connect_timeout=TIMEOUT, socket_timeout=TIMEOUT
    )


async def wait_until_reachable(settings: Settings) -> None:
    """Return when the hub responds. Raises SettingError if it does not within START_TIMEOUT, or rejects us."""
    shown = without_password(settings.hub or "")
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            async with open_client(settings) as client:
                await client.ping()
                return
        except (AuthenticationError, ResponseError) as error:
            raise SettingError(
                f"HUB={shown!r}: the hub rejects the connection ({error}). Give HUB=valkey://:password@host"
            ) from None
        except FAILURES as error:
            if time.monotonic() > deadline:
                raise SettingError(
                    f"HUB={shown!r}: the hub does not respond ({error})."
                    " Start it (`--profile hub`), or correct the address"
                ) from None
        await asyncio.sleep(FIRST_PAUSE)
