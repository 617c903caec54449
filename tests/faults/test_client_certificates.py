"""CLIENT_CA: the websocket is for clients with a certificate of that CA, and the handler knows who they are."""

import json
import ssl
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
import websocket
from client import UPGRADE, Target, ask, exchange, target_of
from eventually import eventually
from fixtures import Connect, NewStack
from pairs import certificate_of, revocation_list, write_pair
from promise import promise
from stack import Stack

NOW = datetime.now(UTC)
NAME = 'Zoë, "the admin"'


@pytest.fixture(scope="module")
def clients() -> trustme.CA:
    return trustme.CA(organization_name="Clients")


@pytest.fixture
def certs(ca: trustme.CA, clients: trustme.CA, tmp_path: Path) -> Path:
    write_pair(ca.issue_cert("localhost"), tmp_path)
    clients.cert_pem.write_to_path(tmp_path / "client-ca.pem")
    _revoke(clients, tmp_path)
    return tmp_path


@pytest.fixture
def stack(profile: str, new_stack: NewStack, certs: Path) -> Stack:
    settings = {"CERTS_DIR": str(certs), "CLIENT_CA": "client-ca.pem", "CLIENT_CRL": "client-crl.pem"}
    stack = new_stack(profile, APP="apps.whoami:handler", **settings)
    stack.up()
    return stack


@pytest.fixture
def target(stack: Stack, ca_file: Path) -> Target:
    return target_of(stack, ca_file)


def _revoke(clients: trustme.CA, directory: Path, *leaves: trustme.LeafCert) -> None:
    """Put a list there that revokes these."""
    new = directory / "client-crl.new"
    new.write_bytes(revocation_list(clients, *leaves))
    new.replace(directory / "client-crl.pem")


def _context(target: Target, leaf: trustme.LeafCert) -> ssl.SSLContext:
    context = target.context()
    leaf.configure_cert(context)
    return context


def _is_refused(target: Target, connect: Connect, leaf: trustme.LeafCert) -> bool:
    """Whether TLS or the server says no; never a 101."""
    try:
        connect(target, sslopt={"context": _context(target, leaf)}).send("in?")
    except websocket.WebSocketBadStatusException as error:
        return error.status_code == 403
    except (TimeoutError, websocket.WebSocketTimeoutException):
        raise  # to say nothing is no refusal
    except (OSError, websocket.WebSocketException):
        return True
    return False


def _visit(target: Target, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> tuple[Any, int]:
    """Return the session, and how a request without Upgrade is answered in it."""
    with closing(context.wrap_socket(target.open_tcp(), server_hostname=target.host, session=session)) as tls:
        status = exchange(tls, [f"GET {target.path} HTTP/1.1", f"Host: {target.authority}"]).status
        return tls.session, status


def _is_refused_again(target: Target, context: ssl.SSLContext, session: ssl.SSLSession) -> bool:
    try:
        return _visit(target, context, session)[1] == 403
    except (ConnectionError, ssl.SSLError):
        return True


def test_only_who_has_a_certificate_gets_in_and_is_known(
    stack: Stack, target: Target, connect: Connect, clients: trustme.CA, certs: Path
) -> None:
    forged = {"X-Client-Subject": "CN=root", "X-Client-Serial": "1"}
    refused = ask(target, headers={**UPGRADE, **forged})
    assert refused.status == 403
    assert "A client certificate is needed here" in refused.text
    if stack.profile != "direct":
        assert ask(target, path="/").status == 200

    zoe = clients.issue_cert("zoe@example.org", common_name=NAME, organization_name="Example")
    # A proxy drops what Connection names: not what says who the client is.
    named = "Connection: Upgrade, X-Client-Subject, X-Client-Serial, X-Real-IP"
    ws = connect(target, sslopt={"context": _context(target, zoe)}, header=forged, connection=named)
    ws.send("who am I?")
    seen = json.loads(ws.recv())
    subject, serial = seen["certificate"]
    assert subject.startswith(r"CN=Zo\C3\AB\, \"the admin\",OU=")
    assert subject.endswith(",O=Example")
    assert int(serial, 16) == certificate_of(zoe).serial_number
    assert "CN=root" not in json.dumps(seen)
    assert seen["client"] == stack.gateway

    assert _is_refused(target, connect, trustme.CA(organization_name="Clients").issue_cert("zoe@example.org"))
    expired = clients.issue_cert("zoe@example.org", not_after=NOW - timedelta(days=1))
    assert _is_refused(target, connect, expired)

    # Revoked while the server runs: from now on; an open websocket goes on.
    session, status = _visit(target, context := _context(target, zoe))
    assert status == 426
    bob = clients.issue_cert("bob@example.org")
    assert not _is_refused(target, connect, bob)
    _revoke(clients, certs, zoe)
    with promise(5, "the new list counts"):
        eventually(lambda: _is_refused(target, connect, zoe), "who is revoked is refused")
    assert not _is_refused(target, connect, bob)
    # Nor does resuming help, once nginx's old workers accept no more: for a moment, both do.
    eventually(lambda: _is_refused_again(target, context, session), "a session of who is revoked is refused")
    ws.send("still there?")
    assert json.loads(ws.recv())["certificate"] == [subject, serial]


@pytest.mark.profiles("nginx")
def test_what_is_no_ca_is_named(profile: str, new_stack: NewStack, ca: trustme.CA, tmp_path: Path) -> None:
    write_pair(ca.issue_cert("localhost"), tmp_path)
    ca.issue_cert("zoe@example.org").cert_chain_pems[0].write_to_path(tmp_path / "client-ca.pem")
    stack = new_stack(profile, CERTS_DIR=str(tmp_path), CLIENT_CA="client-ca.pem")
    assert stack.start("--wait").code != 0
    assert "is not a CA certificate. Put the CA that issued your clients' certificates there" in stack.logs("certs")
