"""CERTS=acme, with Pebble, an ACME server for tests: its certificates last a minute, so that they are renewed soon."""

import http.client
import json
import re
from contextlib import closing
from pathlib import Path

import pytest
import trustme
from acme_server import FILES, HARNESS, acme_settings, connect, health, published, trust
from eventually import eventually
from fixtures import NewStack
from stack import Stack

pytestmark = pytest.mark.long

NAME = "wss.example"


@pytest.fixture
def stack(profile: str, new_stack: NewStack, ca: trustme.CA, tmp_path: Path) -> Stack:
    """Not up: the stack with an ACME server that has its root from the test's CA."""
    return new_stack(profile, files=FILES, DOMAIN=NAME, **acme_settings(ca, tmp_path))


def test_a_certificate_is_obtained_and_renewed_and_nobody_is_cut(stack: Stack, ca_file: Path) -> None:
    stack.up()
    context = trust(stack, ca_file)
    # Until it is obtained, clients refuse what is served.
    ws, first = eventually(lambda: connect(stack, context, NAME), "there is a certificate")
    with closing(ws):

        def renewed() -> str:
            ws.send("tom")
            assert ws.recv() == "ok"
            later, serial = connect(stack, context, NAME)
            with closing(later):
                return serial if serial != first else ""

        eventually(renewed, "it is renewed")
        ws.send("tom")
        assert ws.recv() == "ok"

    # Account and certificate outlive `down`.
    account = _accounts(stack)
    assert account
    assert stack.compose("down").code == 0
    stack.up()
    assert _accounts(stack) == account

    # All else on port 80 goes on to https, and nowhere else.
    assert _ask_in_plain(stack, NAME)[0] == _ask_in_plain(stack, NAME, "POST")[0] == 308
    assert re.fullmatch(rf"https://{NAME}(:\d+)?/page\?x=1", _ask_in_plain(stack, NAME)[1])
    assert _ask_in_plain(stack, "evil.example") == (421, "")


def _ask_in_plain(stack: Stack, host: str, method: str = "GET") -> tuple[int, str]:
    """Return the status and the Location of an answer on port 80."""
    with closing(http.client.HTTPConnection("127.0.0.1", published(stack, stack.profile, 80))) as connection:
        connection.request(method, "/page?x=1", headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.getheader("Location", "")


def _accounts(stack: Stack) -> list[str]:
    return sorted(stack.read_in("certs", "find", "/acme/accounts", "-name", "private_key.json").split())


def test_a_failing_validation_is_said_with_the_servers_words(stack: Stack) -> None:
    stack.settings = {**stack.settings, "DOMAIN": "nowhere.example", "CERTS_CHECK": "1s"}
    stack.up()
    eventually(lambda: "nowhere.example: " in health(stack), "certs is unhealthy")
    # Pebble refuses one nonce in twenty, so that this need not be the first thing that goes wrong.
    stack.wait_for_log("certs", "issues no certificate: nowhere.example: ")
    stack.wait_for_log("certs", "untrusted temporary certificate")
    assert stack.container("certs").status == "running"


@pytest.mark.profiles("nginx")
def test_an_account_is_bound_to_an_account_of_the_ca(stack: Stack, ca_file: Path) -> None:
    pebble = HARNESS / "pebble" / "with-binding.json"
    ((kid, key),) = json.loads(pebble.read_text())["pebble"]["externalAccountMACKeys"].items()
    stack.settings = {**stack.settings, "PEBBLE_CONFIG": pebble.name}
    stack.up()
    stack.wait_for_log("certs", "Set ACME_EAB_KID and ACME_EAB_HMAC_KEY_FILE")
    (Path(stack.settings["CERTS_DIR"]) / "eab.key").write_text(f"{key}\n")
    stack.settings = {**stack.settings, "ACME_EAB_KID": kid, "ACME_EAB_HMAC_KEY_FILE": "eab.key"}
    stack.up()
    ws, _ = eventually(lambda: connect(stack, trust(stack, ca_file), NAME), "there is a certificate")
    ws.close()
    assert key not in stack.logs()


@pytest.mark.profiles("nginx")
def test_an_order_that_was_left_alone_is_no_hindrance(stack: Stack, ca_file: Path) -> None:
    # Whether it expires, or the server forgets it: the next run begins a new one.
    outcome = stack.start("--detach")
    assert outcome.code == 0, outcome.output
    stack.wait_for_log("pebble", "Added order")
    stack.container("certs").kill()
    stack.up()
    context = trust(stack, ca_file)
    ws, _ = eventually(lambda: connect(stack, context, NAME), "there is a certificate")
    with closing(ws):
        eventually(lambda: stack.logs("pebble").count("Added order") > 1, "pebble logs a second order")
