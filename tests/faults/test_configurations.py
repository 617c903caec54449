"""Every combination of options, and every WS_PATHS, results in a configuration that nginx and httpd accept."""

import string
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

# Each input line is one combination: TLS_POLICY, HSTS, PROXY_PROTOCOL, HTTPS_PORT, the directory of the pair, WS_PATHS.
CHECK = {
    "nginx": "render >/run/rendered.conf && nginx -t -q -c /run/rendered.conf -e stderr",
    "apache": "render >/run/rendered.conf && apache2 -f /etc/apache2/httpd.conf -t",
}
SCRIPT = """
while read -r TLS_POLICY HSTS PROXY_PROTOCOL HTTPS_PORT pair WS_PATHS; do
    export TLS_POLICY HSTS PROXY_PROTOCOL HTTPS_PORT WS_PATHS
    ln -sfn "/pairs/$pair" /tls/current
    output=$(bash -euc '%s' 2>&1) && echo accepted || echo "$TLS_POLICY $HSTS $PROXY_PROTOCOL $pair $WS_PATHS: $output"
done <<<"$COMBINATIONS"
"""
# With a duplicate, and a name that needs a larger hash in nginx than the default.
DOMAIN = f"localhost,wss.example,WSS.example,[2001:db8::1],{'a' * 63}.example"
COMBINATIONS = [
    f"{policy} {hsts} {proxy_protocol} {port} {pair}"
    for policy in ("intermediate", "modern")
    for hsts in ("0", "1")
    for proxy_protocol in ("off", "on")
    for port in ("443", "127.0.0.1:8443")
    for pair in ("alone", "with-ca", "with-crl")
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
        assert _check(stack, tmp_path, [f"intermediate 0 off 443 . {value}" for value in values]) == ["accepted"] * len(
            values
        )

    assert all(_is_accepted_by_check(value) for value in WS_PATHS)
    assert_accepted(WS_PATHS)

    @settings(max_examples=5, deadline=None)
    @given(st.lists(st.lists(PATHS, min_size=1).map(",".join).filter(_is_accepted_by_check), min_size=20))
    def assert_any_accepted(values: list[str]) -> None:
        assert_accepted(values)

    assert_any_accepted()
    # The test is able to fail.
    assert _check(stack, tmp_path, ['intermediate 0 off 443 . /"']) != ["accepted"]


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
    assert _check(stack, tmp_path, ["intermediate 0 off 443 nowhere"]) != ["accepted"]
