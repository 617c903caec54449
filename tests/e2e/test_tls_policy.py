"""Row 6 of the contract: TLS versions, cipher suites and groups that must or must not be negotiated."""

import json
from pathlib import Path
from typing import Any

import pytest
from client import Target
from client_hello import ALERT, HANDSHAKE, HANDSHAKE_FAILURE, PROTOCOL_VERSION, TLS_1_2, send_client_hello
from stack import INNER_PORT, Stack


def test_a_client_hello_with_a_good_suite_is_accepted(target: Target) -> None:
    # Without this the tests of refusals below would prove nothing.
    assert send_client_hello(target, TLS_1_2, 0xC02F, 0xC02B)[0] == HANDSHAKE


@pytest.mark.parametrize("version", [0x0300, 0x0301, 0x0302], ids=["SSL 3.0", "TLS 1.0", "TLS 1.1"])
def test_versions_before_1_2_are_refused(target: Target, version: int) -> None:
    record = send_client_hello(target, version, 0xC013, 0xC009, 0x002F)
    assert record[0] == ALERT
    # For SSL 3.0, nginx sends the alert of a cipher suite mismatch: OpenSSL checks its own version limits first.
    assert record[-1] in (PROTOCOL_VERSION, HANDSHAKE_FAILURE)


@pytest.mark.parametrize(
    "suites",
    [
        # Each for RSA and for ECDSA, so that the key type is not the reason for the refusal.
        pytest.param((0x0005, 0xC011, 0xC007), id="RC4"),
        pytest.param((0x000A, 0xC012, 0xC008), id="3DES"),
        pytest.param((0x0003, 0x0008, 0x0014), id="export"),
        pytest.param((0x0034, 0xC018, 0x00A6), id="anonymous"),
        pytest.param((0x0002, 0xC010, 0xC006), id="no encryption"),
        pytest.param((0x009C, 0x009D, 0x002F), id="no forward secrecy"),
        pytest.param((0xC013, 0xC009, 0xC027, 0xC023), id="CBC"),
        pytest.param((0x009E, 0x009F, 0x0033), id="DHE"),
    ],
)
def test_weak_suites_are_refused(target: Target, suites: tuple[int, ...]) -> None:
    record = send_client_hello(target, TLS_1_2, *suites)
    assert (record[0], record[-1]) == (ALERT, HANDSHAKE_FAILURE)


# In a container, because the host's OpenSSL may be too old for X25519MLKEM768. Each client connects twice; the second
# connection offers the session of the first.
_CLIENT = """
import json, socket, ssl, sys
port, maximum = sys.argv[1:]
context = ssl.create_default_context(cafile="/ca.pem")
context.maximum_version = ssl.TLSVersion[maximum]

def connect(session=None):
    with socket.create_connection(("wss.example", int(port)), timeout=60) as tcp:
        with context.wrap_socket(tcp, server_hostname="wss.example", session=session) as tls:
            tls.sendall(b"GET /nowhere HTTP/1.1\\r\\nHost: wss.example\\r\\nConnection: close\\r\\n\\r\\n")
            while tls.recv(4096):  # a TLS 1.3 session ticket arrives with the response
                pass
            return tls.session, [tls.version(), tls.cipher()[0], tls.session_reused]

session, first = connect()
print(json.dumps([first, connect(session)[1]]))
"""
_OPENSSL_CNF = "openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = only\n[only]\nGroups = {}\n"
# Maximum version and only groups of each client.
CLIENTS = {
    "X25519MLKEM768": ("TLSv1_3", "X25519MLKEM768"),
    "X25519": ("TLSv1_3", "X25519"),
    "P-256": ("TLSv1_3", "P-256"),
    "TLS 1.2": ("TLSv1_2", "X25519:P-256"),
    "TLS 1.3": ("TLSv1_3", "X25519:P-256"),
}

Handshakes = dict[str, list[list[Any]]]


@pytest.fixture(scope="module")
def handshakes(stack: Stack, ca_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Handshakes:
    """Version, cipher suite and "resumed" for both connections of each client, all from one container."""
    directory = tmp_path_factory.mktemp("openssl")
    (directory / "client.py").write_text(_CLIENT)
    script = ""
    for number, (maximum, groups) in enumerate(CLIENTS.values()):
        (directory / f"{number}.cnf").write_text(_OPENSSL_CNF.format(groups))
        script += f"OPENSSL_CONF=/client/{number}.cnf python /client/client.py {INNER_PORT[stack.profile]} {maximum}\n"
    directory.chmod(0o755)
    files = {"/ca.pem": ca_file, "/client": directory}
    output = stack.run_beside(stack.image("backend"), ["bash", "-euc", script], files)
    return dict(zip(CLIENTS, map(json.loads, output.splitlines()), strict=True))


@pytest.mark.parametrize("group", ["X25519MLKEM768", "X25519", "P-256"])
def test_a_client_with_only_one_group_is_served(handshakes: Handshakes, group: str) -> None:
    assert handshakes[group][0][0] == "TLSv1.3"


def test_a_client_without_tls_1_3_gets_forward_secrecy_and_aead(handshakes: Handshakes) -> None:
    version, suite, _ = handshakes["TLS 1.2"][0]
    assert version == "TLSv1.2"
    assert suite.startswith("ECDHE-")
    assert suite.endswith(("GCM-SHA256", "GCM-SHA384", "CHACHA20-POLY1305"))


@pytest.mark.parametrize("version", ["TLS 1.2", "TLS 1.3"])
def test_a_client_that_reconnects_resumes_its_session(handshakes: Handshakes, version: str) -> None:
    assert [resumed for _, _, resumed in handshakes[version]] == [False, True]
