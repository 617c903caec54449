"""Names in .env that are not a setting: those that resemble one are refused, all others belong to the user."""

import os
import subprocess
import sys

import pytest
from server import BACKEND
from wss.config.environment import SettingError
from wss.config.names import INTERNAL, SETTINGS, check_names, resembled


@pytest.mark.parametrize("name", [*SETTINGS, *INTERNAL])
def test_a_setting_is_accepted(name: str) -> None:
    check_names([name])


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        # The other number.
        ("ORIGIN", "ORIGINS"),
        ("WORKER", "WORKERS"),
        ("MAX_CONNECTION", "MAX_CONNECTIONS"),
        ("DOMAINS", "DOMAIN"),
        ("WS_PATH", "WS_PATHS"),
        ("SUBPROTOCOL", "SUBPROTOCOLS"),
        ("APPS", "APP"),
        ("CERT", "CERTS"),
        ("CERT_DIR", "CERTS_DIR"),
        # A letter too many, too few, wrong, or in the wrong place.
        ("ORGINS", "ORIGINS"),
        ("DOMIAN", "DOMAIN"),
        ("UPSTRAEM", "UPSTREAM"),
        ("MAX_CONECTION", "MAX_CONNECTIONS"),
        ("MAX_CONNECTIONS_PER_ADRESS", "MAX_CONNECTIONS_PER_ADDRESS"),
        ("COMPRESION", "COMPRESSION"),
        ("ACME_MAIL", "ACME_EMAIL"),
        # Another spelling.
        ("origins", "ORIGINS"),
        ("Domain", "DOMAIN"),
        ("LOGLEVEL", "LOG_LEVEL"),
        ("LOG-LEVEL", "LOG_LEVEL"),
        ("TLSPOLICY", "TLS_POLICY"),
        # More than the name.
        ("MAX_MESSAGE_SIZE", "MAX_MESSAGE"),
        ("MAX_BODY_SIZE", "MAX_BODY"),
        ("PING_INTERVAL_SECONDS", "PING_INTERVAL"),
        ("ALLOWED_ORIGINS", "ORIGINS"),
        ("ALLOWED_ORIGIN", "ORIGINS"),
        ("WSS_DOMAIN", "DOMAIN"),
        # Compose ignores these as silently.
        ("COMPOSE_FILES", "COMPOSE_FILE"),
        ("COMPOSE_PROFILE", "COMPOSE_PROFILES"),
    ],
)
def test_a_name_that_resembles_a_setting_is_refused(name: str, meant: str) -> None:
    assert resembled(name) == meant
    with pytest.raises(
        SettingError, match=rf"^\.env: not a setting: {name} \(did you mean {meant}\?\)\. Correct the name"
    ):
        check_names([name, "ORIGINS", "MINE"])


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "HOME", "HOSTNAME", "TMPDIR", "TZ", "LANG", "LC_ALL", "USER", "PWD", "SHLVL", "_"),
        *("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "OPENSSL_CONF", "GPG_KEY"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "ALL_PROXY"),
        *("DATABASE_URL", "REDIS_URL", "POSTGRES_PASSWORD", "API_KEY", "TOKEN", "SECRET", "PASSWORD", "DEBUG"),
        *(
            "HOST",
            "APP_ENV",
            "APP_KEY",
            "APP_PORT",
            "APP_NAME",
            "NODE_ENV",
            "LOG_DIR",
            "LOG_FILE",
            "DB_PORT",
            "MAIL_DOMAIN",
        ),
        *("COMPOSE_HTTP_TIMEOUT", "COMPOSE_DOCKER_CLI_BUILD", "DOCKER_HOST", "DOCKER_BUILDKIT", "UID", "GID"),
        *("CLIENT_ID", "CLIENT_SECRET", "CLIENT_KEY", "HTTP_HOST", "SITE_DOMAIN", "CORS_ORIGINS", "VIRTUAL_HOST"),
    ],
)
def test_other_names_belong_to_the_user(name: str) -> None:
    assert resembled(name) is None


def test_all_mistakes_are_in_one_line() -> None:
    command = [sys.executable, "-E", "-m", "wss.config.names"]
    environment = {**os.environ, "ORIGIN": "", "WORKER": "2"}
    done = subprocess.run(command, cwd=BACKEND, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "error: .env: not a setting: ORIGIN (did you mean ORIGINS?), WORKER (did you mean WORKERS?)."
        " Correct the name, or give another one if it is yours\n"
    )
