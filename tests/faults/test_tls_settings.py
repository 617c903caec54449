"""TLS_POLICY and HSTS."""

from pathlib import Path

from client import ask, target_of
from client_hello import ALERT, PROTOCOL_VERSION, TLS_1_2, offer
from fixtures import NewStack


def test_a_modern_policy_with_hsts_is_two_settings(profile: str, new_stack: NewStack, ca_file: Path) -> None:
    stack = new_stack(profile, TLS_POLICY="modern", HSTS="1")
    stack.up()
    target = target_of(stack, ca_file)
    assert ask(target).headers["strict-transport-security"] == "max-age=63072000"
    record = offer(target, TLS_1_2, 0xC02F, 0xC02B)
    assert (record[0], record[-1]) == (ALERT, PROTOCOL_VERSION)
