"""TRUSTED_PROXIES=local: the networks of the own interfaces. In a stack: tests/faults/test_networks.py."""

from wss.config.interfaces import own_networks
from wss.handshake.forwarded import is_trusted


def test_loopback_is_not_an_own_network() -> None:
    assert not is_trusted("127.0.0.1", own_networks())
    assert not is_trusted("::1", own_networks())
