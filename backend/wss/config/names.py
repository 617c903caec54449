"""`python -m wss.config.names` exits with an error if a name in the environment is not a setting, but resembles one.

Compose passes only the settings that its files list: it would ignore ORIGIN, and without ORIGINS all pages may connect.
"""

import os
import sys
from collections.abc import Iterable

from wss.config.environment import SettingError, settings_of
from wss.config.proxy import UpstreamSettings
from wss.config.settings import Settings

# Settings of the other services, of compose.yaml itself and of its overlays.
OF_OTHER_SERVICES = (
    *("CERTS", "CERTS_DIR", "CERTS_WARN_DAYS", "CERTS_PASSWORD_FILE", "CLIENT_CA", "CLIENT_CRL"),
    "HUB_PERSIST",
    *("ACME_EMAIL", "ACME_DIRECTORY", "ACME_PROFILE", "ACME_CA", "ACME_RETRY"),
    *("ACME_EAB_KID", "ACME_EAB_HMAC_KEY_FILE"),
    *("ACME_DNS_SERVER", "ACME_DNS_ZONE", "ACME_DNS_KEY_NAME", "ACME_DNS_KEY_FILE", "ACME_DNS_ALGORITHM"),
    *("BASE_IMAGE", "IMAGES", "TAG", "RESTART", "LOG_MAX_SIZE", "HTTP_PORT", "PROXY_PROTOCOL_PORT", "UPSTREAM_NETWORK"),
    "ALERT_WEBHOOK",
)
OF_SWARM = ("PROXY", "BACKENDS", "CERT_VERSION", "PROXY_MEMORY", "BACKEND_MEMORY", "HUB_MEMORY")
# https://docs.docker.com/compose/how-tos/environment-variables/envvars/
OF_COMPOSE = (
    *("COMPOSE_ANSI", "COMPOSE_BAKE", "COMPOSE_CONVERT_WINDOWS_PATHS", "COMPOSE_DISABLE_ENV_FILE", "COMPOSE_ENV_FILES"),
    *("COMPOSE_EXPERIMENTAL", "COMPOSE_FILE", "COMPOSE_IGNORE_ORPHANS", "COMPOSE_MENU", "COMPOSE_PARALLEL_LIMIT"),
    *("COMPOSE_PATH_SEPARATOR", "COMPOSE_PROFILES", "COMPOSE_PROGRESS", "COMPOSE_PROJECT_NAME"),
    *("COMPOSE_REMOVE_ORPHANS", "COMPOSE_STATUS_STDOUT"),
)
# Set by images or overlays, not by an operator.
INTERNAL = (
    *("PORT", "METRICS_PORT", "RUN_DIR", "TLS_DIR", "PAGE", "CHALLENGES"),
    *("EXPIRY_FILE", "REVOKED_FILE", "HUB_PASSWORD_FILE", "REPLICAS", "TRUSTED_PROXIES", "BACKEND"),
)
_OF_BACKEND_AND_PROXIES = {each.name for part in (Settings, UpstreamSettings) for each in settings_of(part).values()}
SETTINGS = tuple(sorted((_OF_BACKEND_AND_PROXIES - {*INTERNAL}) | {*OF_OTHER_SERVICES, *OF_SWARM, *OF_COMPOSE}))
_FREE = frozenset({*SETTINGS, *INTERNAL})
_PREFIXES = ("WSS_", "ALLOWED_")


def check_names(names: Iterable[str]) -> None:
    """Raise SettingError if names resemble a setting; other names that are not a setting belong to the user."""
    if found := [f"{name} (did you mean {meant}?)" for name in sorted(names) if (meant := resembled(name))]:
        raise SettingError(
            f".env: not a setting: {', '.join(found)}. Correct the name, or give another one if it is yours"
        )


def resembled(name: str) -> str | None:
    """Return the setting that a name resembles; None if it is a setting, or resembles none."""
    if name in _FREE:
        return None
    word = name.upper().replace("-", "_")
    words = {word, *(word.removeprefix(prefix) for prefix in _PREFIXES)}
    found = (setting for setting in SETTINGS if any(_resembles(each, setting) for each in words))
    return max(found, key=len, default=None)


def _resembles(word: str, setting: str) -> bool:
    length = len(setting)
    mistakes = 0 if max(len(word), length) < 5 else 1 if length < 12 else 2
    return (
        word.replace("_", "").removesuffix("S") == setting.replace("_", "").removesuffix("S")
        or ("_" in setting and word.startswith(f"{setting}_"))  # MAX_MESSAGE_SIZE
        or (abs(len(word) - length) <= mistakes and _distance(word, setting) <= mistakes)
    )


def _distance(one: str, other: str) -> int:
    """Return how many letters have to be inserted, removed, replaced, or swapped with the next one."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, last, row = row, before, [i]
        for j, opposite in enumerate(other, 1):
            costs = [before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != opposite)]
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == opposite:
                costs.append(last[j - 2] + 1)
            row.append(min(costs))
    return row[-1]


if __name__ == "__main__":
    try:
        check_names(os.environ)
    except SettingError as error:
        sys.exit(f"error: {error}")
