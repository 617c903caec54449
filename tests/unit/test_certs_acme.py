"""ACME: when certbot runs, with which options, and how its failures are reported."""

import ssl
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import trustme
from certificates import acme
from certificates.acme import AcmeClient, Order, describe_failure, requested_delay

FAILURE = """\
Saving debug log to /tmp/certbot/letsencrypt.log
Requesting a certificate for wss.example

Certbot failed to authenticate some domains (authenticator: webroot). The Certificate Authority reported these problems:
  Identifier: wss.example
  Type:   connection
  Detail: 192.0.2.1: Timeout during connect (likely firewall problem)

Hint: The Certificate Authority failed to download the temporary challenge files.

Some challenges have failed.
Ask for help or search for solutions at https://community.letsencrypt.org.
"""
LIMITED = """\
Saving debug log to /tmp/certbot/letsencrypt.log
An unexpected error occurred:
too many failed authorizations (5) for "wss.example" in the last 1h0m0s, retry after {:%Y-%m-%d %H:%M:%S} UTC: see
Ask for help or search for solutions at https://community.letsencrypt.org.
"""
UNRESOLVED = (
    "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='acme.invalid', port=443): Max retries exceeded with"
    " url: /directory (Caused by NameResolutionError(\"HTTPSConnection(host='acme.invalid', port=443): Failed to"
    " resolve 'acme.invalid' ([Errno -2] Name or service not known)\"))"
)
UNTRUSTED = (
    "requests.exceptions.SSLError: HTTPSConnectionPool(host='pebble', port=14000): Max retries exceeded with url: /dir"
    " (Caused by SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed:"
    " unable to get local issuer certificate (_ssl.c:1029)')))"
)


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        (UNRESOLVED, "acme.invalid does not answer (Name or service not known). Check ACME_DIRECTORY"),
        (
            UNTRUSTED,
            "pebble does not answer (certificate verify failed: unable to get local issuer certificate). Check",
        ),
    ],
)
def test_the_problem_names_an_unreachable_server(output: str, problem: str) -> None:
    assert describe_failure(f"An unexpected error occurred:\n{output}\nAsk for help\n").startswith(problem)


def test_a_problem_is_reported_in_the_servers_words() -> None:
    problem = "wss.example: connection: 192.0.2.1: Timeout during connect (likely firewall problem)"
    assert describe_failure(FAILURE) == problem
    limited = describe_failure(LIMITED.format(datetime.now(UTC)))
    assert limited.startswith("An unexpected error occurred: too many failed")
    assert describe_failure("") == "certbot printed no error"


def test_a_retry_waits_for_as_long_as_the_server_requests() -> None:
    assert requested_delay(FAILURE) == 0
    assert 3590 < requested_delay(LIMITED.format(datetime.now(UTC) + timedelta(hours=1))) <= 3600
    assert requested_delay(LIMITED.format(datetime.now(UTC) - timedelta(hours=1))) == 0


@pytest.fixture
def certbot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A certbot that runs the file `script`, and appends its arguments to the file `arguments`."""
    program = tmp_path / "certbot"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/arguments\n. {tmp_path}/script\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    _replace_container_paths(tmp_path, monkeypatch)
    return tmp_path


def _replace_container_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONFIG_DIR", "WORK_DIR", "WEBROOT"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(acme, name, tmp_path / name)


def run(client: AcmeClient, now: float) -> None:
    """Start certbot, wait for its exit, and evaluate its result."""
    client.poll(now)
    assert client._running
    client._running.wait()
    client.poll(now)


def runs(certbot: Path) -> list[str]:
    """Return the arguments of each run."""
    return (certbot / "arguments").read_text().splitlines()


def test_the_interval_doubles_after_each_failure(certbot: Path) -> None:
    (certbot / "script").write_text(f"cat <<'EOT'\n{FAILURE}EOT\nexit 1\n")
    client = AcmeClient(Order(["wss.example", "192.0.2.1"], email="a@b.c", retry=10))
    now = 0.0
    for failures in range(4):
        run(client, now)
        assert client.problem.startswith("wss.example: connection")
        shortest = 10 * 2**failures * 0.8
        client.poll(now + shortest - 1)
        assert len(runs(certbot)) == failures + 1
        now += shortest * 1.2 / 0.8 + 1
    line = runs(certbot)[0]
    assert "--domain wss.example --ip-address 192.0.2.1" in line
    assert "--email a@b.c" in line
    (certbot / "script").write_text("exit 0\n")
    run(client, now)
    assert client.problem == ""


def test_certbot_runs_again_after_a_24th_of_the_lifetime(certbot: Path) -> None:
    live = certbot / "CONFIG_DIR" / "live" / "wss"
    live.mkdir(parents=True)
    start = datetime.now(UTC)
    leaf = trustme.CA().issue_cert("wss.example", not_before=start, not_after=start + timedelta(days=6))
    leaf.cert_chain_pems[0].write_to_path(live / "fullchain.pem")
    leaf.private_key_pem.write_to_path(live / "privkey.pem")
    (certbot / "script").write_text("exit 0\n")
    client = AcmeClient(Order(["wss.example"]))
    run(client, 0.0)
    assert client.pair()
    client.poll(0.8 * 6 * 3600 - 1)  # a 24th of six days, minus 20 %
    assert len(runs(certbot)) == 1
    run(client, 1.2 * 6 * 3600)


def test_stop_terminates_certbot(certbot: Path) -> None:
    (certbot / "script").write_text("exec sleep 60\n")
    client = AcmeClient(Order(["wss.example"]))
    client.poll(0.0)
    running = client._running
    assert running
    client.stop()
    assert running.returncode is not None


class TooManyRequests(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(HTTPStatus.TOO_MANY_REQUESTS)
        self.send_header("Retry-After", self.server.retry_after)  # type: ignore[attr-defined]
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("retry_after", ["7200", "in two hours"])
def test_a_retry_after_header_is_found_in_the_log_of_the_real_certbot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retry_after: str
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    _replace_container_paths(tmp_path, monkeypatch)
    began = time.monotonic()
    if retry_after == "in two hours":
        retry_after = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("localhost").configure_cert(context)
    with HTTPServer(("127.0.0.1", 0), TooManyRequests) as server:
        server.retry_after = retry_after  # type: ignore[attr-defined]
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        directory = f"https://localhost:{server.server_port}/directory"
        client = AcmeClient(Order(["wss.example"], directory=directory, root=tmp_path / "ca.pem", retry=1))
        run(client, 0.0)
        server.shutdown()
    assert "429" in client.problem
    # A date has whole seconds.
    assert 7199 - (time.monotonic() - began) <= client._due <= 7200
