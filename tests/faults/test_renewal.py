"""Row 15 of the contract: a renewed certificate is served within seconds, and nobody who is connected notices."""

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
from load import Steady
from pairs import write_pair
from promise import promise
from stack import LONG_PING_TIMEOUT

CLIENTS = 500
PAUSE = 1.0  # seconds between two messages of a client
SOON = 5.0  # seconds from the file to what new clients get

# How an operator replaces the pair; the last argument waits until the certificate service has polled.
Way = Callable[[Path, Path, Callable[[], None]], None]


class Talk:
    """Numbered messages on many websockets, each reply compared with what was sent, from entering until leaving."""

    def __init__(self, opened: list[websocket.WebSocket]) -> None:
        self._opened = opened
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0
        self.wrong: list[str] = []

    def __enter__(self) -> "Talk":
        self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.is_set():
            said = [str(self.sent + number) for number in range(len(self._opened))]
            for ws, text in zip(self._opened, said, strict=True):
                ws.send(text)
            self.sent += len(said)
            self._end.wait(PAUSE)
            for ws, text in zip(self._opened, said, strict=True):
                try:
                    if (heard := ws.recv()) != text:
                        self.wrong.append(f"{heard!r} for {text!r}")
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


def link_flipped(new: Path, directory: Path, _: Callable[[], None]) -> None:
    # As certbot does: live/ has links into archive/.
    kept = directory / "archive" / new.name
    shutil.copytree(new, kept)
    for name in ("server.key", "server.pem"):
        link = directory / f"{name}.new"
        link.symlink_to(kept.relative_to(directory) / name)
        link.replace(directory / name)


def half_at_first(first: str, second: str) -> Way:
    def renew(new: Path, directory: Path, looked: Callable[[], None]) -> None:
        (new / first).replace(directory / first)
        looked()
        (new / second).replace(directory / second)

    return renew


WAYS = (
    renamed,
    written_in_place,
    link_flipped,
    half_at_first("server.key", "server.pem"),
    half_at_first("server.pem", "server.key"),
)


def _serial(target: Target) -> str:
    with closing(target.open_tls()) as connection:
        certificate = connection.getpeercert()
    assert certificate
    return str(certificate["serialNumber"])


def test_ten_renewals_lose_nothing(
    profile: str, new_stack: NewStack, ca: trustme.CA, ca_file: Path, connect: Connect, tmp_path: Path
) -> None:
    directory = tmp_path / "certs"
    directory.mkdir()
    write_pair(ca.issue_cert("localhost"), directory)
    stack = new_stack(profile, CERTS_DIR=str(directory), APP="apps.echo:handler", **LONG_PING_TIMEOUT)
    stack.up()
    target = target_of(stack, ca_file)

    def looked() -> None:
        def last() -> str:
            return stack.read_in("certs", "stat", "--format=%y", "/run/health")

        for _ in range(2):  # the first may have been under way
            before = last()
            eventually(lambda: last() != before, "certs polls")  # noqa: B023

    opened = [connect(target) for _ in range(CLIENTS)]
    served = [_serial(target)]
    with Talk(opened) as talk, Steady(target, use=_echo) as steady:
        for number, renew in enumerate(WAYS * 2):
            new = tmp_path / f"new-{number}"
            new.mkdir()
            write_pair(ca.issue_cert("localhost"), new)
            renew(new, directory, looked)
            with promise(SOON, "the renewed certificate is served"):
                served.append(eventually(lambda: _another(target, served), "new clients get the new one"))
            said = talk.sent
            eventually(lambda: talk.wrong or talk.sent > said + CLIENTS, "everybody goes on talking")  # noqa: B023
    assert talk.wrong == []
    assert steady.failures == []
    assert len(set(served)) == len(WAYS) * 2 + 1
    assert _resumes(target)


def _another(target: Target, served: list[str]) -> str:
    """Return the serial number that is served, if it is a new one."""
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
    stack = new_stack(profile, CERTS_DIR=str(tmp_path))
    stack.up()
    target = target_of(stack, ca_file)
    served = _serial(target)
    good = (tmp_path / "server.key").read_bytes()

    def health() -> str:
        container = stack.container("certs")
        container.reload()
        return str(container.attrs["State"]["Health"]["Status"])

    ca.issue_cert("localhost").private_key_pem.write_to_path(tmp_path / "server.key")
    eventually(lambda: health() == "unhealthy", "certs is unhealthy")
    (line,) = [line for line in stack.logs("certs").splitlines() if "is not the key of" in line]
    assert "Put certificate and key of the same issuance there" in line
    assert "The previous pair stays in use" in line
    assert _serial(target) == served

    (tmp_path / "server.key").write_bytes(good)
    eventually(lambda: health() == "healthy", "certs is healthy again")
    assert _serial(target) == served
