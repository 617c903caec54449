"""Whatever values `check` accepts, nginx and httpd accept the configuration that is rendered from them."""

import secrets
import shlex
import string
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest
import trustme
from fixtures import NewStack
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pairs import write_pair
from stack import Stack
from wss.config import addresses, parsers
from wss.config.environment import SettingError
from wss.config.proxy import check_with_backend, read_upstream_settings
from wss.config.settings import read_settings

Environment = Mapping[str, str]

# Each file in /environments is one combination of settings.
SCRIPT = """
ln -s /pair /tls/current
for file in /environments/*; do
    output=$(bash -euc '. "$1"; %s' - "$file" 2>&1) && echo accepted || echo $(cat "$file"): $output
done
"""
# replicas: follow-replicas writes it at the start of httpd.
CHECK = {
    "nginx": "render >/run/rendered.conf; nginx -t -q -c /run/rendered.conf -e stderr",
    "apache": "touch /run/replicas; render >/run/rendered.conf; apache2 -f /etc/apache2/httpd.conf -t",
}

WHITE_SPACE = st.text(" \t\r\n", max_size=2)
LABEL = st.from_regex(r"[a-z_]([a-z0-9_-]{0,61}[a-z0-9_])?", fullmatch=True)
NAME_OR_IPV4 = st.lists(LABEL, min_size=1, max_size=5).map(".".join) | st.ip_addresses(v=4).map(str)
HOST = NAME_OR_IPV4 | st.ip_addresses(v=6).map("[{}]".format)
PATH = st.builds(
    "/{}{}".format,
    st.text(string.ascii_letters + string.digits + "!$&'()+-./:;=@_~", max_size=60),
    st.sampled_from(["", "*"]),
)
PORT = st.integers(1, 65535).map(str)
ORIGIN = st.builds(
    "{}://{}{}{}".format,
    st.sampled_from(["http", "https"]),
    st.sampled_from(["", "*."]),
    HOST,
    st.just("") | PORT.map(":{}".format),
) | st.from_regex(r"[a-z][a-z0-9.-]{0,9}://[a-z0-9._-]{1,40}(:[0-9]{1,4})?", fullmatch=True)


def _any_case(*words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(words).flatmap(lambda word: st.sampled_from([word, word.upper(), word.title()]))


def _is_parsed(parse: Callable[[str], object], value: str) -> bool:
    try:
        parse(value)
    except ValueError:
        return False
    return True


def _list_of(items: st.SearchStrategy[str], parse: Callable[[str], object]) -> st.SearchStrategy[str]:
    accepted = items.filter(partial(_is_parsed, parse))
    return st.lists(accepted, min_size=1, max_size=9).map(" ,\n".join)


def _environments(values: Mapping[str, st.SearchStrategy[str]], *required: str) -> st.SearchStrategy[Environment]:
    around = {name: st.builds("{}{}{}".format, WHITE_SPACE, value, WHITE_SPACE) for name, value in values.items()}
    always = {name: around.pop(name) for name in required}
    return st.fixed_dictionaries(always, optional=around)


COMMON = {
    "TLS_POLICY": _any_case("intermediate", "modern"),
    "HSTS": _any_case("on", "off", "true", "false", "yes", "no", "1", "0"),
    "HTTPS_PORT": st.one_of(PORT, st.builds("{}:{}".format, st.ip_addresses(v=4), PORT), st.just("[::1]:0")),
    "WS_PATHS": _list_of(PATH, parsers.ws_paths),
    "IDLE_TIMEOUT": st.integers(40, 86400).map(str),
    # The memory and the limits of this machine are not known to `check`; `render` has an error of its own for them.
    "PROXY_CONNECTIONS": st.integers(1, 2000).map(str),
}
WITH_UPSTREAM = {
    **COMMON,
    "HTTP_PATHS": _list_of(PATH, parsers.paths),
    "ORIGINS": _list_of(ORIGIN, addresses.origins),
    "UPSTREAM": st.builds("{}:{}".format, NAME_OR_IPV4, PORT),
}
WITH_HTTP = {
    **WITH_UPSTREAM,
    "MAX_BODY": st.sampled_from(["1", "65536", "64K", "1M", "1024M", "1048576K", "1073741824"]),
}
EXTREMES = [
    {"WS_PATHS": "/" + "." * 999, "HTTPS_PORT": "0", "IDLE_TIMEOUT": "86400", "PROXY_CONNECTIONS": "1"},
    {
        "UPSTREAM": f"{'.'.join(['a' * 63] * 3)}.{'a' * 61}:65535",
        "HTTP_PATHS": ",".join(["/"] * 500),
        "ORIGINS": ",".join(["https://*.a-b.c-d.e-f.example:65535"] * 65),
        "MAX_BODY": "1024M",
    },
    {"UPSTREAM": "app:1", "ORIGINS": "https://" + ".".join("a" * 120) + ",http://a.b" * 200},
]


def _is_accepted_by_check(environment: Environment) -> bool:
    try:
        if "UPSTREAM" in environment:
            read_upstream_settings(environment)
        else:
            read_settings(environment)
            check_with_backend(environment)
    except SettingError:
        return False
    return True


def _check(stack: Stack, directory: Path, environments: Sequence[Environment]) -> list[str]:
    """Return a line for each environment: "accepted", or the error of nginx or httpd."""
    batch = directory / secrets.token_hex(8)
    batch.mkdir()
    for number, environment in enumerate(environments):
        lines = (f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())
        (batch / f"{number:04}").write_text("".join(lines))
    output = stack.engine.containers.run(
        stack.image(stack.profile),
        ["bash", "-uc", SCRIPT % CHECK[stack.profile]],
        remove=True,
        environment={"DOMAIN": "localhost"},
        volumes={str(directory / "pair"): {"bind": "/pair"}, str(batch): {"bind": "/environments"}},
        tmpfs={"/run": "uid=10001", "/tls": "uid=10001"},
        read_only=True,
        **stack.beside,
    )
    assert isinstance(output, bytes)
    return output.decode().splitlines()


@pytest.mark.profiles("nginx", "apache")
def test_every_value_that_check_accepts_is_accepted(
    profile: str, new_stack: NewStack, ca: trustme.CA, tmp_path: Path
) -> None:
    (tmp_path / "pair").mkdir()
    write_pair(ca.issue_cert("localhost"), tmp_path / "pair")
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755)
    stack = new_stack(profile)
    stack.build(profile)

    def assert_accepted(environments: Sequence[Environment]) -> None:
        output = _check(stack, tmp_path, environments)
        assert [line[-400:] for line in output if line != "accepted"] == []
        assert len(output) == len(environments)

    assert all(map(_is_accepted_by_check, EXTREMES))
    assert_accepted(EXTREMES)

    # A filter that rejects much fails the test (HealthCheck.filter_too_much).
    any_environment = st.one_of(
        _environments(COMMON),
        _environments(WITH_UPSTREAM, "UPSTREAM"),
        _environments(WITH_HTTP, "UPSTREAM", "HTTP_PATHS"),
    ).filter(_is_accepted_by_check)

    # Without shrinking: each example is a container, and the output names what was refused.
    @settings(max_examples=5, deadline=None, phases=[Phase.generate])
    @given(st.lists(any_environment, min_size=15, max_size=40))
    def assert_any_accepted(environments: list[Environment]) -> None:
        assert_accepted(environments)

    assert_any_accepted()
    # The test is able to fail.
    assert _check(stack, tmp_path, [{"WS_PATHS": '/"'}]) != ["accepted"]
