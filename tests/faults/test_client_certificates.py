"""CLIENT_CA: only clients with a certificate of that CA may connect, and the handler sees their subject and serial."""

import json
import secrets
import ssl
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pytest
import trustme
import websocket
from chains import Issued, issue
from client import TIMEOUT, UPGRADE, Target, exchange, http_request, target_of
from closing import close_code
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from eventually import eventually
from fixtures import Connect, NewStack
from pairs import certificate_of, issue_to, revocation_list, write_pair
from stack import Stack
from time_limit import time_limit

NOW = datetime.now(UTC)
NAME = 'Zoë, "the admin"'


ACCESS_ENDED = 4403
CN, ORGANIZATION, UNKNOWN = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, x509.ObjectIdentifier("1.2.3.4.5")
# The subject as text (RFC 4514) of certificates with these attributes, the same in every profile.
SUBJECTS: dict[str, tuple[tuple[x509.ObjectIdentifier, str], ...]] = {
    "CN=ann": ((CN, "ann"),),
    "CN=ann,O=Example": ((ORGANIZATION, "Example"), (CN, "ann")),
    "": (),
    "CN=": ((CN, ""),),
    r"CN=\E6\B1\A4\E5\A7\86 Zo\C3\AB": ((CN, "汤姆 Zoë"),),
    r"CN=\F0\9F\98\80": ((CN, "😀"),),
    r"CN=a\,CN=root": ((CN, "a,CN=root"),),
    r"CN=a\+b\;c\<d\>e": ((CN, "a+b;c<d>e"),),
    r"CN=\"a\" \\ b": ((CN, '"a" \\ b'),),
    r"CN=\#a": ((CN, "#a"),),
    r"CN=\ a \ ": ((CN, " a  "),),
    r"CN=\ ": ((CN, " "),),
    r"CN=a\0Ab": ((CN, "a\nb"),),
    r"CN=a\0D\0AX-Real-IP: 192.0.2.7": ((CN, "a\r\nX-Real-IP: 192.0.2.7"),),
    r"CN=a\00b\09c\7Fd": ((CN, "a\0b\tc\x7fd"),),
    f"CN={'a' * 1000}": ((CN, "a" * 1000),),
    ",".join(f"CN={number}" for number in range(100)): tuple((CN, str(number)) for number in range(99, -1, -1)),
    "emailAddress=a@b.c": ((NameOID.EMAIL_ADDRESS, "a@b.c"),),
    "UID=a,DC=b,C=DE": ((NameOID.COUNTRY_NAME, "DE"), (NameOID.DOMAIN_COMPONENT, "b"), (NameOID.USER_ID, "a")),
    "1.2.3.4.5=#0C0161": ((UNKNOWN, "a"),),
}
# Python's ssl does not tell the type of a value, which RFC 4514 section 2.4 wants for attributes without a name.
SEEN_IN_DIRECT = {"1.2.3.4.5=#0C0161": "1.2.3.4.5=a"}


@pytest.fixture(scope="module")
def client_ca() -> trustme.CA:
    return trustme.CA(organization_name="Clients")


@pytest.fixture
def certs(ca: trustme.CA, client_ca: trustme.CA, tmp_path: Path) -> Path:
    write_pair(ca.issue_cert("localhost"), tmp_path)
    client_ca.cert_pem.write_to_path(tmp_path / "client-ca.pem")
    _revoke(client_ca, tmp_path)
    return tmp_path


@pytest.fixture
def stack(profile: str, new_stack: NewStack, certs: Path) -> Stack:
    settings = {"CERTS_DIR": str(certs), "CLIENT_CA": "client-ca.pem", "CLIENT_CRL": "client-crl.pem"}
    settings["WS_PATHS"] = "/wss,/ws/*"
    stack = new_stack(profile, APP="apps.whoami:handler", **settings)
    stack.up()
    return stack


@pytest.fixture
def target(stack: Stack, ca_file: Path) -> Target:
    return target_of(stack, ca_file)


def _revoke(client_ca: trustme.CA, directory: Path, *leaves: trustme.LeafCert) -> None:
    """Write a CRL to the directory that revokes these certificates."""
    new = directory / "client-crl.new"
    new.write_bytes(revocation_list(client_ca, *leaves))
    new.replace(directory / "client-crl.pem")


def _context(target: Target, leaf: trustme.LeafCert) -> ssl.SSLContext:
    context = target.context()
    leaf.configure_cert(context)
    return context


def _is_refused(target: Target, connect: Connect, leaf: trustme.LeafCert | ssl.SSLContext) -> bool:
    """Return whether the TLS handshake fails or the status is 403; False after a 101."""
    context = leaf if isinstance(leaf, ssl.SSLContext) else _context(target, leaf)
    try:
        connect(target, sslopt={"context": context}).send("in?")
    except websocket.WebSocketBadStatusException as error:
        return error.status_code == 403
    except (TimeoutError, websocket.WebSocketTimeoutException):
        raise  # no answer is not a refusal
    except (OSError, websocket.WebSocketException):
        return True
    return False


def _visit(target: Target, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> tuple[Any, int]:
    """Return the TLS session, and the status of a request without Upgrade."""
    with closing(context.wrap_socket(target.open_tcp(), server_hostname=target.host, session=session)) as tls:
        status = exchange(tls, [f"GET {target.path} HTTP/1.1", f"Host: {target.authority}"]).status
        return tls.session, status


def _subjects_seen(target: Target, client_ca: trustme.CA) -> dict[str, str]:
    """Return what the handler sees of clients with the certificates of SUBJECTS."""
    seen = {}
    for number, (text, attributes) in enumerate(SUBJECTS.items(), 1):
        name = x509.Name(x509.NameAttribute(oid, value, _validate=False) for oid, value in attributes)
        context = target.context()
        with NamedTemporaryFile() as file:
            file.write(issue_to(client_ca, name, number))
            file.flush()
            context.load_cert_chain(file.name)
        ws = websocket.create_connection(target.url, sslopt={"context": context}, timeout=TIMEOUT, suppress_origin=True)
        with closing(ws):
            ws.send("who am I?")
            seen[text], serial, _ = json.loads(ws.recv())["certificate"]
        assert int(serial, 16) == number
    return seen


def _resumption_is_refused(target: Target, context: ssl.SSLContext, session: ssl.SSLSession) -> bool:
    try:
        return _visit(target, context, session)[1] == 403
    except (ConnectionError, ssl.SSLError):
        return True


@pytest.mark.filterwarnings("ignore:Attribute.s length")
def test_only_clients_with_a_valid_certificate_connect_and_the_handler_sees_it(
    stack: Stack, target: Target, connect: Connect, client_ca: trustme.CA, certs: Path
) -> None:
    forged = {"X-Client-Subject": "CN=root", "X-Client-Serial": "1", "X-Client-Issuer": "CN=root"}
    for path in ("/wss", "/ws/a%2Fb?c"):
        refused = http_request(target, path, headers={**UPGRADE, **forged})
        assert refused.status == 403
        assert "A client certificate is needed here" in refused.text
    if stack.profile != "direct":
        assert http_request(target, path="/").status == 200

    zoe = client_ca.issue_cert("zoe@example.org", common_name=NAME, organization_name="Example")
    # A proxy drops header fields that Connection lists. It must not drop the fields that identify the client.
    named = "Connection: Upgrade, X-Client-Subject, X-Client-Serial, X-Client-Issuer, X-Real-IP"
    ws = connect(target, sslopt={"context": _context(target, zoe)}, header=forged, connection=named)
    ws.send("who am I?")
    seen = json.loads(ws.recv())
    subject, serial, issuer = seen["certificate"]
    assert subject.startswith(r"CN=Zo\C3\AB\, \"the admin\",OU=")
    assert subject.endswith(",O=Example")
    assert int(serial, 16) == certificate_of(zoe).serial_number
    assert issuer.endswith(",O=Clients")
    assert "CN=root" not in json.dumps(seen)
    assert seen["client"] == stack.gateway

    seen_as = _subjects_seen(target, client_ca)
    differences = {subject: seen for subject, seen in seen_as.items() if seen != subject}
    assert differences == (SEEN_IN_DIRECT if stack.profile == "direct" else {})

    assert _is_refused(target, connect, trustme.CA(organization_name="Clients").issue_cert("zoe@example.org"))
    expired = client_ca.issue_cert("zoe@example.org", not_after=NOW - timedelta(days=1))
    assert _is_refused(target, connect, expired)

    # As public CAs issue them today: for servers only.
    authority = Issued(
        x509.load_pem_x509_certificate(client_ca.cert_pem.bytes()),
        load_pem_private_key(client_ca.private_key_pem.bytes(), None),
    )
    for_servers = issue("zoe.example", authority, purposes=(ExtendedKeyUsageOID.SERVER_AUTH,))
    (certs.parent / "for-servers.pem").write_bytes(for_servers.key_pem + for_servers.pem)
    context = target.context()
    context.load_cert_chain(certs.parent / "for-servers.pem")
    assert _is_refused(target, connect, context)

    # Revocation at run time applies to new connections; an open websocket stays open.
    session, status = _visit(target, context := _context(target, zoe))
    assert status == 426
    bob = client_ca.issue_cert("bob@example.org")
    assert not _is_refused(target, connect, bob)
    _revoke(client_ca, certs, zoe)
    with time_limit(5, "applying the new CRL"):
        eventually(lambda: _is_refused(target, connect, zoe), "the revoked certificate is refused")
    assert not _is_refused(target, connect, bob)
    # A resumed session is refused, too. nginx's old workers may accept connections for a moment after the reload.
    eventually(lambda: _resumption_is_refused(target, context, session), "the revoked client's session is refused")
    ws.send("still there?")
    assert json.loads(ws.recv())["certificate"] == [subject, serial, issuer]


def test_a_new_list_closes_open_websockets_that_it_revokes(
    profile: str, new_stack: NewStack, ca: trustme.CA, ca_file: Path, connect: Connect, tmp_path: Path
) -> None:
    write_pair(ca.issue_cert("localhost"), tmp_path)
    clients, others = trustme.CA(organization_name=f"{NAME}, Ltd"), trustme.CA(organization_name="Others")
    (tmp_path / "client-ca.pem").write_bytes(clients.cert_pem.bytes() + others.cert_pem.bytes())
    crl = tmp_path / "client-crl.pem"
    crl.write_bytes(revocation_list(clients) + revocation_list(others))
    settings = {"CLIENT_CA": "client-ca.pem", "CLIENT_CRL": "client-crl.pem", "CLOSE_REVOKED": "on"}
    stack = new_stack(profile, CERTS_DIR=str(tmp_path), **settings)
    stack.up()
    target = target_of(stack, ca_file)

    def enter(authority: trustme.CA, serial: int) -> websocket.WebSocket:
        file = tmp_path.parent / f"{secrets.token_hex(4)}.pem"
        file.write_bytes(issue_to(authority, x509.Name([x509.NameAttribute(CN, "ann")]), serial))
        context = target.context()
        context.load_cert_chain(file)
        return connect(target, sslopt={"context": context})

    # A serial number is unique only among the certificates of one CA.
    ann, namesake, neighbour = enter(clients, 0xABC), enter(others, 0xABC), enter(clients, 0xABD)
    crl.write_bytes(revocation_list(clients, 0xABC) + revocation_list(others))
    with time_limit(10, "closing the revoked client"):
        assert close_code(ann) == ACCESS_ENDED
    for ws in (namesake, neighbour):
        ws.send("tom")
        assert ws.recv() == "ok"
    with pytest.raises((websocket.WebSocketException, OSError)):
        enter(clients, 0xABC).recv()


@pytest.mark.profiles("nginx")
def test_a_client_ca_that_is_not_a_ca_is_named(
    profile: str, new_stack: NewStack, ca: trustme.CA, tmp_path: Path
) -> None:
    write_pair(ca.issue_cert("localhost"), tmp_path)
    ca.issue_cert("zoe@example.org").cert_chain_pems[0].write_to_path(tmp_path / "client-ca.pem")
    stack = new_stack(profile, CERTS_DIR=str(tmp_path), CLIENT_CA="client-ca.pem")
    assert stack.start("--wait").code != 0
    stack.wait_for_log("certs", "is not a CA certificate. Put the CA that issued your clients' certificates there")
