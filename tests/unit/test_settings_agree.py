"""wss/config is the source of all settings: the files of Compose, swarm.yaml and the documentation agree with it."""

import re
from typing import Any

import pytest
from server import REPOSITORY
from wss.config.environment import Setting, settings_of
from wss.config.names import INTERNAL, OF_OTHER_SERVICES, OF_SWARM
from wss.config.proxy import ProxySettings, UpstreamSettings
from wss.config.settings import Settings


def by_name(component: type[Any]) -> dict[str, Setting]:
    return {each.name: each for each in settings_of(component).values()}


# What the backend and the proxies have in common has the backend's default.
SETTINGS = {**by_name(UpstreamSettings), **by_name(Settings)}
COMPOSE_FILES = ("compose.yaml", "acme.yaml", "balancer.yaml", "monitoring.yaml", "upstream.yaml")


def interpolated(*files: str) -> set[str]:
    """Return the variables that an operator can set: ${NAME:-default}."""
    texts = [(REPOSITORY / file).read_text() for file in files]
    return {name for text in texts for name in re.findall(r"\$\{([A-Z_]+):-", text)}


def documented(page: str = "settings.md") -> dict[str, str]:
    """Return the rows of the tables of settings on a page: name and default."""
    text = (REPOSITORY / "docs" / page).read_text()
    tables = re.findall(r"^\| setting \| default \| meaning \|\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    rows = [re.fullmatch(r"\| `([A-Z_]+)` \| (\S.*?) \| \S.* \|", row) for row in "".join(tables).splitlines()]
    assert all(rows), "each row is: | `NAME` | default | meaning |"
    settings = {row[1]: row[2].strip("`") for row in rows if row}
    assert len(settings) == len(rows), "a setting has two rows"
    return settings


def test_compose_passes_exactly_the_settings() -> None:
    assert interpolated(*COMPOSE_FILES) - set(OF_OTHER_SERVICES) == set(SETTINGS) - {*INTERNAL}


def test_swarm_passes_the_same_settings_as_compose() -> None:
    # Swarm publishes 443, and has neither the profile direct nor monitoring.yaml.
    ports = {"HTTPS_PORT", "DIRECT_PORT", "PROMETHEUS_PORT"}
    settings = {*by_name(Settings), *by_name(ProxySettings)}
    assert settings - {*INTERNAL} - ports <= interpolated("deploy/swarm.yaml")


def test_each_proxy_gets_the_settings_that_it_enforces() -> None:
    base, upstream = interpolated("compose.yaml"), interpolated("upstream.yaml")
    assert set(by_name(UpstreamSettings)) <= base
    assert set(by_name(UpstreamSettings)) - set(by_name(Settings)) - set(by_name(ProxySettings)) <= upstream


def test_the_documentation_has_exactly_the_settings() -> None:
    assert set(documented()) == (set(SETTINGS) - {*INTERNAL}) | set(OF_OTHER_SERVICES)


@pytest.mark.parametrize("name", sorted(set(SETTINGS) - {*INTERNAL}))
def test_the_documentation_has_the_default(name: str) -> None:
    default = documented()[name]
    assert ("" if default.startswith("*(") else default) == SETTINGS[name].default


def test_the_documentation_has_the_settings_of_swarm_with_their_defaults() -> None:
    text = (REPOSITORY / "deploy" / "swarm.yaml").read_text()
    defaults = {name: set(re.findall(rf"\$\{{{name}:-([^}}]*)\}}", text)) for name in OF_SWARM}
    assert {name: {default} for name, default in documented("swarm.md").items()} == defaults


def test_the_documentation_lists_the_settings_that_are_refused_with_an_upstream() -> None:
    of_direct = {"DIRECT_PORT"}
    refused = by_name(Settings).keys() - by_name(UpstreamSettings).keys() - {*INTERNAL} - of_direct
    text = (REPOSITORY / "docs" / "existing-server.md").read_text()
    paragraph = text.partition("Configure your server instead:\n")[2].partition("\n\n")[0]
    assert re.findall(r"`([A-Z_]+)`", paragraph) == sorted(refused)
