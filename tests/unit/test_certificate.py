"""The certificate while it is served: it follows the link of the certificate service, whatever the new pair is like."""

import socket
import ssl
from pathlib import Path

import pytest
import trustme
from eventually import eventually
from server import TIMEOUT, Server, Start

RSA, ECDSA = trustme.KeyType.RSA, trustme.KeyType.ECDSA


def publish(leaf: trustme.LeafCert, volume: Path, preamble: str = "") -> int:
    """Make the pair the current one, as the certificate service does; return the serial number."""
    directory = volume / f"pair-{len(list(volume.iterdir()))}"
    directory.mkdir()
    leaf.private_key_pem.write_to_path(directory / "server.key")
    certificate = leaf.cert_chain_pems[0].bytes()
    (directory / "server.pem").write_bytes(preamble.encode() + certificate)
    link = volume / "new"
    link.symlink_to(directory.name)
    link.replace(volume / "current")
    decoded = ssl.PEM_cert_to_DER_cert(certificate.decode())
    return hash(decoded)


def served(server: Server, ca: trustme.CA) -> int:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    with (
        socket.create_connection(("localhost", server.port), timeout=TIMEOUT) as tcp,
        context.wrap_socket(tcp, server_hostname="localhost") as tls,
    ):
        return hash(tls.getpeercert(binary_form=True))


@pytest.mark.parametrize(
    "preamble", ["", "\n", "Bag Attributes\n    friendlyName: é\n"], ids=["none", "blank", "words"]
)
def test_it_follows_from_one_pair_to_the_next(start: Start, tmp_path: Path, preamble: str) -> None:
    ca = trustme.CA()
    first = publish(ca.issue_cert("localhost", key_type=ECDSA), tmp_path)
    server = start(TLS_DIR=str(tmp_path / "current"))
    assert served(server, ca) == first
    # The same kind of key, another one, and back.
    for key_type in (ECDSA, RSA, ECDSA):
        now = publish(ca.issue_cert("localhost", key_type=key_type), tmp_path, preamble)
        eventually(lambda: served(server, ca) == now, "the new one is served")  # noqa: B023


def test_what_cannot_be_served_is_said_and_left_alone(start: Start, tmp_path: Path) -> None:
    ca = trustme.CA()
    first = publish(ca.issue_cert("localhost"), tmp_path)
    server = start(TLS_DIR=str(tmp_path / "current"))
    publish(trustme.CA().issue_cert("other.example"), tmp_path)
    server.wait_for("(the certificate before goes on being served)")
    assert served(server, ca) == first
    now = publish(ca.issue_cert("localhost"), tmp_path)
    eventually(lambda: served(server, ca) == now, "the next good one is served")
