"""CERTS=acme with DNS-01: a wildcard, by a CNAME into a zone of its own, which BIND lets a TSIG key change (RFC 2136).

Pebble asks that name server, as a CA would. The mistakes are made in the service's container, against the same server.
"""

import re
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
from acme_server import FILES, HARNESS, acme_settings, connect, trust
from eventually import eventually
from fixtures import NewStack
from stack import Stack

pytestmark = [pytest.mark.long, pytest.mark.profiles("nginx")]

KEYS = dict(re.findall(r'key "(\w+)" .*secret "(.*?)"', (HARNESS / "dns" / "named.conf").read_text()))
SETTINGS = {
    "DOMAIN": "wss.example,*.wss.example",
    "ACME_DNS_SERVER": "dns",
    "ACME_DNS_ZONE": "acme.test",
    "ACME_DNS_KEY_NAME": "challenges",
    "ACME_DNS_KEY_FILE": "acme-dns.key",
}
# One record is added and found at all name servers, as by certbot's plugin, and then deleted.
SCRIPT = """
import sys
from certificates import dns_challenge
from certificates.challenge_zone import ChallengeZone
from pathlib import Path
dns_challenge.PROPAGATION_TIMEOUT = 0.0
identifier, zone, server, port, key_name, key_file, algorithm = sys.argv[1:]
zone = ChallengeZone(zone, server, int(port), key_name, Path(key_file), algorithm)
try:
    record = dns_challenge.challenge_name(zone, identifier), "value"
    dns_challenge.add(zone, record)
    dns_challenge.delete(zone, record)
    dns_challenge.wait_until_published(zone, [record])
except dns_challenge.CertificateError as error:
    print(error)
"""


@dataclass(frozen=True)
class Mistake:
    """What differs from settings that work, and the cause and the remedy in the error."""

    error: str
    identifier: str = "wss.example"
    settings: dict[str, str] = field(default_factory=dict)


MISTAKES = {
    "no CNAME": Mistake(
        r"^_acme-challenge\.nowhere\.wss\.example has to be a CNAME into ACME_DNS_ZONE=acme\.test, and has no CNAME\."
        r" Create the record: _acme-challenge\.nowhere\.wss\.example\. CNAME nowhere\.wss\.example\.acme\.test\.$",
        identifier="nowhere.wss.example",
    ),
    "a CNAME into another zone": Mistake(
        r"and is a CNAME of foreign\.wss\.example, which is not in that zone\. Create the record",
        identifier="foreign.wss.example",
    ),
    "names that nobody serves": Mistake(r"^the lookup of .* fails \(.*\)\. Check", identifier="wss.refused.test"),
    "the name of another key": Mistake(
        "does not know the key 'other' with hmac-sha256", settings={"key_name": "other"}
    ),
    "another algorithm": Mistake(
        "does not know the key 'challenges' with hmac-sha512", settings={"algorithm": "hmac-sha512"}
    ),
    "another secret": Mistake(
        "another secret for the key 'challenges'. Put", settings={"key_file": "/certs/other.key"}
    ),
    "no secret": Mistake("'none.key' is not readable in CERTS_DIR (No such", settings={"key_file": "/certs/none.key"}),
    "a key without rights": Mistake(
        "does not let the key 'reader' change TXT records of wss.acme.test (REFUSED). Grant it",
        settings={"key_name": "reader", "key_file": "/certs/reader.key"},
    ),
    "another zone than the server's": Mistake("is not the primary server", settings={"zone": "test"}),
    "no server": Mistake(
        "ACME_DNS_SERVER=nowhere does not answer on TCP port 53 (the name", settings={"server": "nowhere"}
    ),
    "no server on that port": Mistake("TCP port 54 (Connection refused). Check", settings={"port": "54"}),
    "not a DNS server": Mistake("does not answer on TCP port 14000", settings={"server": "pebble", "port": "14000"}),
    "no propagation": Mistake(
        "name server dns.test of ACME_DNS_ZONE=acme.test does not have the TXT record wss.acme.test 0 s after the"
    ),
}


@pytest.fixture(scope="module")
def stack(new_shared_stack: NewStack, ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The stack with an ACME server and a name server; the file of the key has the secret of another one."""
    settings = {**acme_settings(ca, tmp_path_factory.mktemp("acme")), **SETTINGS}
    stack: Stack = new_shared_stack("nginx", files=(*FILES, HARNESS / "dns" / "compose.yaml"), **settings)
    for file, key in (("acme-dns.key", "reader"), ("other.key", "reader"), ("reader.key", "reader")):
        _write_key(stack, file, key)
    outcome = stack.start("--wait", "dns")
    assert outcome.code == 0, outcome.output
    networks: dict[str, Any] = stack.container("dns").attrs["NetworkSettings"]["Networks"]
    stack.settings = {**stack.settings, "DNS_ADDRESS": networks[f"{stack.project}_edge"]["IPAddress"]}
    stack.up()
    return stack


def _write_key(stack: Stack, file: str, key: str) -> None:
    (Path(stack.settings["CERTS_DIR"]) / file).write_text(f"{KEYS[key]}\n")


def test_a_wildcard_is_issued_as_soon_as_the_key_is_right(stack: Stack, ca_file: Path) -> None:
    problem = "ACME_DNS_SERVER=dns has another secret for the key 'challenges'"
    line = stack.wait_for_log("certs", problem)
    assert re.search(r"issues no certificate: ACME_DNS_SERVER=.*ACME_DNS_KEY_FILE=acme-dns\.key\. The previous", line)
    stack.wait_for_log("pebble", "Added order")
    validation = "Pulled a task"
    assert validation not in stack.logs("pebble")

    _write_key(stack, "acme-dns.key", "challenges")
    context = trust(stack, ca_file)
    for name in ("wss.example", "a.wss.example"):
        ws, _ = eventually(lambda name=name: connect(stack, context, name), f"{name} has a certificate")  # type: ignore[misc]
        with closing(ws):
            ws.send("tom")
            assert ws.recv() == "ok"
    stack.wait_for_log("pebble", validation)
    assert not [secret for secret in KEYS.values() if secret in stack.logs("certs")]
    stack.wait_for_log("dns", "deleting an RR at wss.acme.test TXT")


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_has_cause_and_remedy(stack: Stack, case: str) -> None:
    mistake = MISTAKES[case]
    _write_key(stack, "right.key", "challenges")
    right = {"zone": "acme.test", "server": "dns", "port": "53", "key_name": "challenges"}
    right |= {"key_file": "/certs/right.key", "algorithm": "hmac-sha256"}
    arguments = {**right, **mistake.settings}.values()
    printed = stack.read_in("certs", "python", "-c", SCRIPT, mistake.identifier, *arguments)
    (line,) = printed.splitlines()
    error = mistake.error if mistake.error.startswith("^") or "\\." in mistake.error else re.escape(mistake.error)
    assert re.search(error, line)
    assert not [secret for secret in KEYS.values() if secret in line]
