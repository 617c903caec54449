"""One list of raw requests (raw_request_cases.py) has the same outcome in each profile, or the difference a reason."""

import http.client
import json
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import websocket
from client import Target
from raw_request_cases import CASES
from raw_requests import HANDSHAKE, HTTP_0_9, HTTP_2, NO_TLS, Case, Outcome
from stack import PROFILES, Stack

# Headers of the handshake, and those that a proxy sets.
_NOT_COMPARED = {
    *(line.partition(":")[0].lower() for line in HANDSHAKE),
    *("x-real-ip", "x-request-id", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"),
}


@pytest.mark.parametrize("group", CASES)
def test_a_raw_request_has_the_outcome_of_the_table(stack: Stack, target: Target, group: str) -> None:
    gateway = stack.gateway

    def wrong(case: Case) -> dict[str, Any]:
        outcome, seen = _send(target, case)
        expected = {"outcome": case.outcome_in(stack.profile), **_expected(stack.profile, gateway, case)}
        found = {"outcome": outcome, **_found(seen)}
        return {} if found == expected else {case.what: (found, expected)}

    with ThreadPoolExecutor(8) as pool:
        differences = {what: both for found in pool.map(wrong, CASES[group]) for what, both in found.items()}
    assert differences == {}


def test_each_difference_between_profiles_has_its_reason() -> None:
    cases = [case for group in CASES.values() for case in group]
    assert len(cases) >= 150
    for group in CASES.values():
        assert len({case.what for case in group}) == len(group)
    for case in cases:
        outcomes = {(case.outcome_in(profile), case.seen_in(profile)) for profile in PROFILES}
        assert (len(outcomes) > 1) == bool(case.why), case.what


def _expected(profile: str, client: str, case: Case) -> dict[str, Any]:
    if case.outcome_in(profile) != http.client.SWITCHING_PROTOCOLS:
        return {}
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in case.seen_in(profile))]
    path = case.path or case.line.split(" ")[1]
    return {"path": path, "headers": _joined(headers), "client": {client}}


def _found(seen: dict[str, Any]) -> dict[str, Any]:
    if not seen:
        return {}
    claims = [value for name, value in seen["headers"] if name.lower() in ("x-real-ip", "x-forwarded-for")]
    return {"path": seen["path"], "headers": _joined(seen["headers"]), "client": {seen["client"], *claims}}


def _joined(headers: list[tuple[str, str]]) -> dict[str, str]:
    """Return the headers that are compared; those of one name are joined, as a proxy may (RFC 9110 section 5.3)."""
    joined: dict[str, str] = {}
    for name, value in headers:
        if (lower := name.lower()) not in _NOT_COMPARED:
            joined[lower] = f"{joined[lower]}, {value}" if lower in joined else value
    return joined


def _send(target: Target, case: Case) -> tuple[Outcome, dict[str, Any]]:
    """Return the outcome of a request, and what the handler saw."""
    context = target.context()
    if case.alpn:
        context.set_alpn_protocols(list(case.alpn))
    with target.open_tcp() as tcp:
        try:
            tls = context.wrap_socket(tcp, server_hostname=case.server_name)
        except (ssl.SSLError, ConnectionError):
            return NO_TLS, {}
        with tls:
            if tls.selected_alpn_protocol() == "h2":
                return HTTP_2, {}
            tls.sendall(case.request.replace("{authority}", target.authority).encode("latin-1"))
            response = http.client.HTTPResponse(tls)
            try:
                response.begin()  # reads on after 100 Continue
            except http.client.BadStatusLine:
                return HTTP_0_9, {}
            seen = _ask(tls) if response.status == http.client.SWITCHING_PROTOCOLS else {}
            return response.status, seen


def _ask(tls: socket.socket) -> dict[str, Any]:
    ws = websocket.WebSocket()
    ws.sock, ws.connected = tls, True
    ws.send("what do you see?")
    seen: dict[str, Any] = json.loads(ws.recv())
    ws.close()
    return seen
