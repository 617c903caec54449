"""wss/config is the source of all settings: the files of Compose, swarm.yaml and the README agree with it."""

import re
from typing import Any

import pytest
from server import REPOSITORY
from wss.config.environment import Setting, settings_of
from wss.config.names import INTERNAL, OF_OTHER_SERVICES
from wss.config.proxy import ProxySettings, UpstreamSettings
from wss.config.settings import Settings


def by_name(component: type[Any]) -> dict[str, Setting]:
    return {each.name: each for each in settings_of(component).values()}


# What the backend and the proxies have in common has the backend's default.
SETTINGS = {**by_name(UpstreamSettings), **by_name(Settings)}
COMPOSE_FILES = ("compose.yaml", "acme.yaml", "balancer.yaml", "upstream.yaml")


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
    assert interpolated(*COMPOSE_FILES) - set(OF_OTHER_SERVICES) == set(SETTINGS) - {*INTERNAL}


def test_swarm_passes_the_same_settings_as_compose() -> None:
    ports = {"HTTPS_PORT", "DIRECT_PORT"}  # Swarm publishes 443, and has no profile direct
    settings = {*by_name(Settings), *by_name(ProxySettings)}
    assert settings - {*INTERNAL} - ports <= interpolated("deploy/swarm.yaml")


def test_each_proxy_gets_the_settings_that_it_enforces() -> None:
    base, upstream = interpolated("compose.yaml"), interpolated("upstream.yaml")
    assert set(by_name(UpstreamSettings)) <= base
    assert set(by_name(UpstreamSettings)) - set(by_name(Settings)) - set(by_name(ProxySettings)) <= upstream


def test_the_readme_has_exactly_the_settings() -> None:
    assert set(documented()) == (set(SETTINGS) - {*INTERNAL}) | set(OF_OTHER_SERVICES)


@pytest.mark.parametrize("name", sorted(set(SETTINGS) - {*INTERNAL}))
def test_the_readme_has_the_default(name: str) -> None:
    default = documented()[name]
    assert ("" if default.startswith("*(") else default) == SETTINGS[name].default


def test_the_documentation_lists_the_settings_that_are_refused_with_an_upstream() -> None:
    of_direct = {"DIRECT_PORT"}
    refused = by_name(Settings).keys() - by_name(UpstreamSettings).keys() - {*INTERNAL} - of_direct
    text = (REPOSITORY / "docs" / "existing-server.md").read_text()
    paragraph = text.partition("Configure your server instead:\n")[2].partition("\n\n")[0]
    assert re.findall(r"`([A-Z_]+)`", paragraph) == sorted(refused)
