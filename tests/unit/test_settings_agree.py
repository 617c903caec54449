"""wss/config/settings.py is the source of all settings: compose.yaml, swarm.yaml and the README agree with it."""

import re
from dataclasses import fields

import pytest
from server import REPOSITORY
from wss.config.settings import Setting, Settings

SETTINGS: dict[str, Setting] = {each.metadata["setting"].name: each.metadata["setting"] for each in fields(Settings)}
# Set by the image or by an overlay, not by an operator.
INTERNAL = {
    *("PORT", "METRICS_PORT", "RUN_DIR", "TLS_DIR", "PAGE", "CHALLENGES"),
    *("EXPIRY_FILE", "HUB_PASSWORD_FILE", "REPLICAS", "TRUSTED_PROXIES"),
}
COMPOSE_FILES = ("compose.yaml", "acme.yaml", "balancer.yaml")
# Settings of Compose itself and of the other services.
NOT_OF_THE_BACKEND = {
    *("BASE_IMAGE", "IMAGES", "TAG", "RESTART", "HTTPS_PORT", "HTTP_PORT", "PROXY_PROTOCOL_PORT"),
    *("CERTS", "CERTS_DIR", "CERTS_WARN_DAYS", "CLIENT_CA", "CLIENT_CRL"),
    *("ACME_EMAIL", "ACME_DIRECTORY", "ACME_PROFILE", "ACME_CA", "ACME_RETRY"),
}


def interpolated(*files: str) -> set[str]:
    """Return the variables that an operator can set: ${NAME:-default}."""
    texts = [(REPOSITORY / file).read_text() for file in files]
    return {name for text in texts for name in re.findall(r"\$\{([A-Z_]+):-", text)}


def documented() -> dict[str, str]:
    """Return the rows of the README's table of settings: name and default."""
    table = (REPOSITORY / "README.md").read_text().partition("\n## Settings\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[A-Z_]+`(?:, `[A-Z_]+`)*) \| (.*?) \|", table, re.MULTILINE)
    return {
        name: default.strip("`")
        for names, defaults in rows
        for name, default in zip(re.findall(r"[A-Z_]+", names), defaults.split(", "), strict=True)
    }


def test_compose_passes_exactly_the_settings() -> None:
    assert interpolated(*COMPOSE_FILES) - NOT_OF_THE_BACKEND == set(SETTINGS) - INTERNAL


def test_swarm_passes_the_same_settings_as_compose() -> None:
    ports = {"DIRECT_PORT"}  # Swarm has no profile direct
    assert set(SETTINGS) - INTERNAL - ports <= interpolated("deploy/swarm.yaml")


def test_the_readme_has_exactly_the_settings() -> None:
    assert set(documented()) == (set(SETTINGS) - INTERNAL) | NOT_OF_THE_BACKEND


@pytest.mark.parametrize("name", sorted(set(SETTINGS) - INTERNAL))
def test_the_readme_has_the_default(name: str) -> None:
    default = documented()[name]
    assert ("" if default.startswith("*(") else default) == SETTINGS[name].default
