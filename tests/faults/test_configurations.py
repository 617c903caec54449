"""Every combination of options, and every WS_PATHS, results in a configuration that nginx and httpd accept."""

import secrets
import string
from itertools import cycle, product
from pathlib import Path

import pytest
import trustme
from fixtures import NewStack
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import revocation_list, write_pair
from stack import Stack
from wss.config.environment import SettingError
from wss.config.settings import read_settings

pytestmark = pytest.mark.long

# replicas: follow-replicas writes it at the start of httpd.
CHECK = {
    "nginx": "render >/run/rendered.conf && nginx -t -q -c /run/rendered.conf -e stderr",
    "apache": "touch /run/replicas && render >/run/rendered.conf && apache2 -f /etc/apache2/httpd.conf -t",
}
# The fields of an input line, and their defaults; PAIR is a directory. No value contains the separator.
DEFAULTS = {
    **dict(
        zip(
            ("TLS_POLICY", "HSTS", "PROXY_PROTOCOL", "HTTPS_PORT", "PAIR"),
            ("intermediate", "0", "off", "443", "."),
            strict=True,
        )
    ),
    **dict.fromkeys(("UPSTREAM", "ORIGINS", "MAX_BODY", "IDLE_TIMEOUT", "PROXY_CONNECTIONS", "HTTP_PATHS"), ""),
    "WS_PATHS": "",
}
SCRIPT = f"""
while IFS='|' read -r {" ".join(DEFAULTS)}; do
    export {" ".join(DEFAULTS)}
    ln -sfn "/pairs/$PAIR" /tls/current
    output=$(bash -euc '%s' 2>&1) && echo accepted || echo "$PAIR $UPSTREAM $HTTP_PATHS $WS_PATHS: $output"
done <<<"$COMBINATIONS"
"""
# With a duplicate, and a name that needs a larger hash in nginx than the default.
DOMAIN = f"localhost,wss.example,WSS.example,[2001:db8::1],{'a' * 63}.example"


def _line(**values: str) -> str:
    assert values.keys() <= DEFAULTS.keys()
    return "|".join({**DEFAULTS, **values}.values())


UPSTREAMS: list[dict[str, str]] = [
    {},
    {"UPSTREAM": "app.example:9000", "IDLE_TIMEOUT": "86400", "PROXY_CONNECTIONS": "1"},
    {
        "UPSTREAM": "192.0.2.1:1",
        "HTTP_PATHS": "/*",
        "MAX_BODY": "1024M",
        "ORIGINS": "https://[::1]:8443,http://*.a-b.c",
    },
]
# All combinations of the options that add directives; the others only change a value, and take turns.
VALUES = cycle(product(("intermediate", "modern"), ("443", "127.0.0.1:8443")))
COMBINATIONS = [
    _line(HSTS=hsts, PROXY_PROTOCOL=proxy_protocol, PAIR=pair, TLS_POLICY=policy, HTTPS_PORT=port, **upstream)
    for (hsts, proxy_protocol, pair, upstream), (policy, port) in zip(
        product(("0", "1"), ("off", "on"), ("alone", "with-ca", "with-crl"), UPSTREAMS), VALUES, strict=False
    )
]


WS_PATHS = [
    *("/wss", "/", "/*", "/wss,/ws/*", " /a , /b ,, ", "/wss,/wss,/wss*", "/.websocket,/.again", "//a//*"),
    # Special characters of regular expressions, sed, the shell, and both configurations.
    *(
        "/a.b+c",
        "/$",
        "/$1",
        "/$&",
        "/(",
        "/)",
        "/()",
        "/a;b",
        "/'",
        "/''",
        "/!",
        "/&",
        "/&&",
        "/=",
        "/@",
        "/~",
        "/-",
    ),
    *("/:+", "/a$", "/$(id)*", "/A-Z_0-9~", "/.*", "/...", "/a..*", "/;", "/" + "." * 999, ",".join(["/"] * 500)),
]
PATHS = st.builds(
    "/{}{}".format, st.text(string.ascii_letters + string.digits + "!$&'()+-./:;=@_~"), st.sampled_from(["", "*"])
)


def _is_accepted_by_check(paths: str) -> bool:
    try:
        read_settings({"WS_PATHS": paths})
    except SettingError:
        return False
    return True


def _check(stack: Stack, pairs: Path, combinations: list[str]) -> list[str]:
    """Return a line for each combination: "accepted", or the error of nginx or httpd."""
    output = stack.engine.containers.run(
        stack.image(stack.profile),
        ["bash", "-uc", SCRIPT % CHECK[stack.profile]],
        remove=True,
        environment={"DOMAIN": DOMAIN, "COMBINATIONS": "\n".join(combinations)},
        volumes={str(pairs): {"bind": "/pairs", "mode": "ro"}},
        tmpfs={"/run": "uid=10001", "/tls": "uid=10001"},
        read_only=True,
        **stack.beside,
    )
    assert isinstance(output, bytes)
    return output.decode().splitlines()


@pytest.mark.profiles("nginx", "apache")
def test_every_list_of_paths_that_check_accepts_is_accepted(
    profile: str, new_stack: NewStack, ca: trustme.CA, tmp_path: Path
) -> None:
    write_pair(ca.issue_cert("localhost"), tmp_path)
    for path in (tmp_path, *tmp_path.iterdir()):
        path.chmod(0o755)
    stack = new_stack(profile)
    stack.build()

    def assert_accepted(values: list[str]) -> None:
        # In WS_PATHS and HTTP_PATHS at once.
        lines = [_line(UPSTREAM="app:9000", HTTP_PATHS=value, WS_PATHS=value) for value in values]
        assert _check(stack, tmp_path, lines) == ["accepted"] * len(values)

    assert all(_is_accepted_by_check(value) for value in WS_PATHS)
    assert_accepted(WS_PATHS)
    lines = [_line(WS_PATHS=value) for value in WS_PATHS]
    assert _check(stack, tmp_path, lines) == ["accepted"] * len(WS_PATHS)

    @settings(max_examples=5, deadline=None)
    @given(st.lists(st.lists(PATHS, min_size=1).map(",".join).filter(_is_accepted_by_check), min_size=20))
    def assert_any_accepted(values: list[str]) -> None:
        assert_accepted(values)

    assert_any_accepted()
    # The test is able to fail.
    assert _check(stack, tmp_path, [_line(WS_PATHS='/"')]) != ["accepted"]


ENDS = string.ascii_letters + string.digits + "_"
LABEL = st.builds("{}{}{}".format, st.sampled_from(ENDS), st.text(ENDS + "-", max_size=61), st.sampled_from(ENDS))
NAME = st.builds("{}{}".format, st.sampled_from(["", "", "*."]), st.lists(LABEL, min_size=1, max_size=3).map(".".join))
HOST = NAME | st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(lambda address: f"[{address}]")
SPACES = st.sampled_from(["", " ", "\n", "\t"])
DOMAINS = st.lists(st.builds("{}{}{}".format, SPACES, HOST, SPACES), min_size=1, max_size=4).map(",".join)
LONGEST = ".".join(["a" * 63, "b" * 63, "c" * 63])
EXTREMES = [
    "ec2-12-34-56-78.ap-northeast-1.compute.amazonaws.com",
    f"{LONGEST}.{'d' * 61}",
    f"*.{LONGEST}.{'d' * 59}",
    ",".join(f"{i}.{LONGEST}.{'d' * 57}" for i in range(500)),
    ",".join(f"*.{i}.{LONGEST}.{'d' * 55}" for i in range(500)),
    ",".join(f"*.{i}.example.com,{i}.example.com" for i in range(250)),
    " , _a-b_.example ,\n*.x-y.example\t,,",
    "a.example,A.EXAMPLE,*.a.example,*.A.example",
]
EVERY_DOMAIN = """
for file in /domains/*; do
    export DOMAIN=$(<"$file")
    output=$(bash -euc '%s' 2>&1) && echo accepted || echo "$file: $output"
done
"""


def _is_a_domain(value: str) -> bool:
    try:
        read_settings({"DOMAIN": value})
    except SettingError:
        return False
    return True


@pytest.mark.profiles("nginx", "apache")
def test_every_domain_that_check_accepts_is_accepted(
    profile: str, new_stack: NewStack, ca: trustme.CA, tmp_path: Path
) -> None:
    pair = tmp_path / "pair"
    pair.mkdir()
    write_pair(ca.issue_cert("localhost"), pair)
    for path in (tmp_path, pair, *pair.iterdir()):
        path.chmod(0o755)
    stack = new_stack(profile)
    stack.build()

    def results(values: list[str]) -> list[str]:
        # Files: the list may be too long for a variable that has other values, too.
        domains = tmp_path / secrets.token_hex(4)
        domains.mkdir()
        for i, value in enumerate(values):
            (domains / f"{i:03d}").write_text(value)
        output = stack.engine.containers.run(
            stack.image(profile),
            ["bash", "-uc", "ln -s /pair /tls/current\n" + EVERY_DOMAIN % CHECK[profile]],
            remove=True,
            environment={"HTTPS_PORT": "443"},
            volumes={str(pair): {"bind": "/pair", "mode": "ro"}, str(domains): {"bind": "/domains", "mode": "ro"}},
            tmpfs={"/run": "uid=10001", "/tls": "uid=10001"},
            read_only=True,
            **stack.beside,
        )
        assert isinstance(output, bytes)
        return output.decode().splitlines()

    assert all(map(_is_a_domain, EXTREMES))
    assert results(EXTREMES) == ["accepted"] * len(EXTREMES)

    @settings(max_examples=3, deadline=None)
    @given(st.lists(DOMAINS.filter(_is_a_domain), min_size=5, max_size=10))
    def assert_any_accepted(values: list[str]) -> None:
        assert results(values) == ["accepted"] * len(values)

    assert_any_accepted()
    # The test is able to fail.
    assert results(['"']) != ["accepted"]


@pytest.mark.profiles("nginx", "apache")
def test_every_combination_of_options_is_accepted(
    profile: str, new_stack: NewStack, ca: trustme.CA, tmp_path: Path
) -> None:
    for name in ("alone", "with-ca", "with-crl"):
        directory = tmp_path / name
        directory.mkdir()
        write_pair(ca.issue_cert("localhost"), directory)
        if name != "alone":
            ca.cert_pem.write_to_path(directory / "client-ca.pem")
        if name == "with-crl":
            (directory / "client-crl.pem").write_bytes(revocation_list(ca))
        for path in (directory, *directory.iterdir()):
            path.chmod(0o755)
    tmp_path.chmod(0o755)
    stack = new_stack(profile)
    stack.build()

    assert _check(stack, tmp_path, COMBINATIONS) == ["accepted"] * len(COMBINATIONS)
    # The check is able to fail: here the pair is missing.
    assert _check(stack, tmp_path, [_line(PAIR="nowhere")]) != ["accepted"]
