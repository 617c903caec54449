"""Row 15 of the contract: a renewed certificate is served within seconds, and open websockets are not affected."""

import shutil
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import TracebackType

import pytest
import trustme
import websocket
from client import Target, exchange, target_of
from eventually import eventually
from fixtures import Connect, NewStack
from load import ConnectionLoad
from pairs import write_pair
from stack import LONG_PING_TIMEOUT
from time_limit import time_limit

pytestmark = pytest.mark.long

CLIENTS = 500
PAUSE = 1.0  # seconds between two messages of a client
MAX_DELAY = 5.0  # seconds from the change of the files until new clients get the certificate

# Waits in the container, because each command that the engine starts there costs more CPU than the check itself.
NEXT_CHECK = """
last_check() { stat --format=%y /run/health; }
before=$(last_check)
while [ "$(last_check)" = "$before" ]; do sleep 0.1; done
"""

# A way to replace the pair; the last argument waits until the certificate service has checked the directory.
Replace = Callable[[Path, Path, Callable[[], None]], None]


class EchoTraffic:
    """Sends numbered messages on many websockets and compares the replies, while the context is active."""

    def __init__(self, opened: list[websocket.WebSocket]) -> None:
        self._opened = opened
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0
        self.wrong: list[str] = []

    def __enter__(self) -> "EchoTraffic":
        self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.is_set():
            messages = [str(self.sent + number) for number in range(len(self._opened))]
            for ws, message in zip(self._opened, messages, strict=True):
                ws.send(message)
            self.sent += len(messages)
            self._end.wait(PAUSE)
            for ws, message in zip(self._opened, messages, strict=True):
                try:
                    if (reply := ws.recv()) != message:
                        self.wrong.append(f"{reply!r} for {message!r}")
                except (OSError, websocket.WebSocketException) as error:
                    self.wrong.append(repr(error))
                    return


def renamed(new: Path, directory: Path, _: Callable[[], None]) -> None:
    for name in ("server.pem", "server.key"):
        (new / name).replace(directory / name)


def written_in_place(new: Path, directory: Path, _: Callable[[], None]) -> None:
    for name in ("server.key", "server.pem"):
        with (directory / name).open("r+b") as file:
            file.truncate()
            for byte in (new / name).read_bytes():
                file.write(bytes([byte]))
                file.flush()


def symlinks_switched(new: Path, directory: Path, _: Callable[[], None]) -> None:
    # As certbot does: live/ contains links into archive/.
    kept = directory / "archive" / new.name
    shutil.copytree(new, kept)
    for name in ("server.key", "server.pem"):
        link = directory / f"{name}.new"
        link.symlink_to(kept.relative_to(directory) / name)
        link.replace(directory / name)


def one_by_one(first: str, second: str) -> Replace:
    def renew(new: Path, directory: Path, wait_for_check: Callable[[], None]) -> None:
        (new / first).replace(directory / first)
        wait_for_check()
        (new / second).replace(directory / second)

    return renew


METHODS = (
    renamed,
    written_in_place,
    symlinks_switched,
    one_by_one("server.key", "server.pem"),
    one_by_one("server.pem", "server.key"),
)


def _serial(target: Target) -> str:
    with closing(target.open_tls()) as connection:
        certificate = connection.getpeercert()
    assert certificate
    return str(certificate["serialNumber"])


def test_ten_renewals_lose_no_message_and_fail_no_connect(
    profile: str, new_stack: NewStack, ca: trustme.CA, ca_file: Path, connect: Connect, tmp_path: Path
) -> None:
    directory = tmp_path / "certs"
    directory.mkdir()
    write_pair(ca.issue_cert("localhost"), directory)
    stack = new_stack(profile, CERTS_DIR=str(directory), APP="apps.echo:handler", **LONG_PING_TIMEOUT)
    stack.up()
    target = target_of(stack, ca_file)

    def wait_for_check() -> None:
        for _ in range(2):  # the first check may have started before the change
            stack.run_in("certs", "bash", "-c", NEXT_CHECK)

    opened = [connect(target) for _ in range(CLIENTS)]
    served = [_serial(target)]
    with EchoTraffic(opened) as traffic, ConnectionLoad(target, use=_echo) as load:
        for number, renew in enumerate(METHODS * 2):
            new = tmp_path / f"new-{number}"
            new.mkdir()
            write_pair(ca.issue_cert("localhost"), new)
            renew(new, directory, wait_for_check)
            with time_limit(MAX_DELAY, "serving the renewed certificate"):
                served.append(eventually(lambda: _new_serial(target, served), "new clients get the new certificate"))
            sent = traffic.sent
            eventually(lambda: traffic.wrong or traffic.sent > sent + CLIENTS, "all clients still send")  # noqa: B023
    assert traffic.wrong == []
    assert load.failures == []
    assert len(set(served)) == len(METHODS) * 2 + 1
    assert _resumes(target)


def _new_serial(target: Target, served: list[str]) -> str:
    """Return the serial number that is served, or an empty string if it was served before."""
    return "" if (serial := _serial(target)) in served else serial


def _echo(ws: websocket.WebSocket) -> None:
    ws.send("hello")
    assert ws.recv() == "hello"


def _resumes(target: Target) -> bool:
    context = target.context()

    def visit(session: object = None) -> tuple[object, bool]:
        with closing(context.wrap_socket(target.open_tcp(), server_hostname=target.host, session=session)) as tls:  # type: ignore[arg-type]
            assert exchange(tls, [f"GET {target.path} HTTP/1.1", f"Host: {target.authority}"]).status == 426
            return tls.session, bool(tls.session_reused)

    session, _ = visit()
    return visit(session)[1]


@pytest.mark.profiles("nginx")
def test_a_bad_renewal_is_never_served(
    profile: str, new_stack: NewStack, ca: trustme.CA, ca_file: Path, tmp_path: Path
) -> None:
    write_pair(ca.issue_cert("localhost"), tmp_path)
    stack = new_stack(profile, CERTS_DIR=str(tmp_path), CERTS_CHECK="1s")
    stack.up()
    target = target_of(stack, ca_file)
    served = _serial(target)
    good = (tmp_path / "server.key").read_bytes()

    def health() -> str:
        container = stack.container("certs")
        container.reload()
        return str(container.attrs["State"]["Health"]["Status"])

    ca.issue_cert("localhost").private_key_pem.write_to_path(tmp_path / "server.key")
    eventually(lambda: health() == "unhealthy", "the certificate service is unhealthy")
    line = stack.wait_for_log("certs", "is not the key of")
    assert "Put certificate and key of the same issuance there" in line
    assert "The previous pair stays in use" in line
    assert _serial(target) == served

    (tmp_path / "server.key").write_bytes(good)
    eventually(lambda: health() == "healthy", "the certificate service is healthy again")
    assert _serial(target) == served
