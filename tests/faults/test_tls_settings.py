"""The settings TLS_POLICY and HSTS."""

from pathlib import Path

from client import http_request, target_of
from client_hello import ALERT, PROTOCOL_VERSION, TLS_1_2, send_client_hello
from fixtures import NewStack


def test_tls_policy_modern_refuses_tls_1_2_and_hsts_adds_its_header(
    profile: str, new_stack: NewStack, ca_file: Path
) -> None:
    stack = new_stack(profile, TLS_POLICY="modern", HSTS="1")
    stack.up()
    target = target_of(stack, ca_file)
    assert http_request(target).headers["strict-transport-security"] == "max-age=63072000"
    record = send_client_hello(target, TLS_1_2, 0xC02F, 0xC02B)
    assert (record[0], record[-1]) == (ALERT, PROTOCOL_VERSION)
