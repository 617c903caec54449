"""Certificates on disk, as an operator has them."""

from pathlib import Path

import trustme


def write_pair(leaf: trustme.LeafCert, directory: Path) -> None:
    """Write server.pem (full chain, leaf first) and server.key."""
    leaf.private_key_pem.write_to_path(directory / "server.key")
    (directory / "server.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
