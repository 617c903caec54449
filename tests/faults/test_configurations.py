"""Every combination of options results in a configuration that nginx and httpd accept."""

from pathlib import Path

import pytest
import trustme
from fixtures import NewStack
from pairs import revocation_list, write_pair

# Each input line is one combination: TLS_POLICY, HSTS, PROXY_PROTOCOL, HTTPS_PORT, and the directory of the pair.
CHECK = {
    "nginx": "render >/run/rendered.conf && nginx -t -q -c /run/rendered.conf -e stderr",
    "apache": "render >/run/rendered.conf && apache2 -f /etc/apache2/httpd.conf -t",
}
SCRIPT = """
while read -r TLS_POLICY HSTS PROXY_PROTOCOL HTTPS_PORT pair; do
    export TLS_POLICY HSTS PROXY_PROTOCOL HTTPS_PORT
    ln -sfn "/pairs/$pair" /tls/current
    output=$(bash -euc '%s' 2>&1) && echo accepted || echo "$TLS_POLICY $HSTS $PROXY_PROTOCOL $pair: $output"
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

    def run(combinations: list[str]) -> list[str]:
        output = stack.engine.containers.run(
            stack.image(profile),
            ["bash", "-uc", SCRIPT % CHECK[profile]],
            remove=True,
            environment={"DOMAIN": DOMAIN, "COMBINATIONS": "\n".join(combinations)},
            volumes={str(tmp_path): {"bind": "/pairs", "mode": "ro"}},
            tmpfs={"/run": "uid=10001", "/tls": "uid=10001"},
            read_only=True,
            **stack.beside,
        )
        assert isinstance(output, bytes)
        return output.decode().splitlines()

    assert run(COMBINATIONS) == ["accepted"] * len(COMBINATIONS)
    # The check is able to fail: here the pair is missing.
    assert run(["intermediate 0 off 443 nowhere"]) != ["accepted"]
