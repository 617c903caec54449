"""Addresses in the form that people write them."""

import pytest
from wss.address import readable


@pytest.mark.parametrize(
    ("address", "shown"),
    [("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::1"), ("::1", "::1")],
)
def test_ipv4_stays_ipv4(address: str, shown: str) -> None:
    assert readable(address) == shown
