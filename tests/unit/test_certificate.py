"""Certificate reload: the server follows the link that the certificate service replaces, for any kind of new pair."""

import socket
import ssl
from pathlib import Path

import pytest
import trustme
from eventually import eventually
from server import TIMEOUT, Server, Start

RSA, ECDSA = trustme.KeyType.RSA, trustme.KeyType.ECDSA


def publish(leaf: trustme.LeafCert, volume: Path, preamble: str = "") -> int:
    """Publish the pair as the current one, as the certificate service does; return a hash of the certificate."""
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


@pytest.mark.parametrize("preamble", ["", "\n", "Bag Attributes\n    friendlyName: é\n"], ids=["none", "blank", "text"])
def test_new_pairs_are_served_without_a_restart(start: Start, tmp_path: Path, preamble: str) -> None:
    ca = trustme.CA()
    first = publish(ca.issue_cert("localhost", key_type=ECDSA), tmp_path)
    server = start(TLS_DIR=str(tmp_path / "current"))
    assert served(server, ca) == first
    # The same key type, another one, and back.
    for key_type in (ECDSA, RSA, ECDSA):
        now = publish(ca.issue_cert("localhost", key_type=key_type), tmp_path, preamble)
        eventually(lambda: served(server, ca) == now, "the new certificate is served")  # noqa: B023


def test_an_invalid_pair_is_logged_and_the_previous_certificate_stays(start: Start, tmp_path: Path) -> None:
    ca = trustme.CA()
    first = publish(ca.issue_cert("localhost"), tmp_path)
    server = start(TLS_DIR=str(tmp_path / "current"))
    publish(trustme.CA().issue_cert("other.example"), tmp_path)
    server.wait_for("(keeping the previous certificate)")
    assert served(server, ca) == first
    now = publish(ca.issue_cert("localhost"), tmp_path)
    eventually(lambda: served(server, ca) == now, "the next valid certificate is served")
