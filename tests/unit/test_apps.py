"""The examples of applications, each on a real port: as people test their own."""

from base64 import b64encode
from typing import Any

import pytest
from apps import basic_auth, first_message, token
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from wss.application import Application
from wss.testing import serve

SECRET = "s3cret"  # noqa: S105


@pytest.mark.parametrize(
    ("path", "options", "is_let_in"),
    [
        (f"/wss?token={SECRET}", {}, True),
        ("/wss", {"additional_headers": {"Cookie": f"a=b; token={SECRET}"}}, True),
        ("/wss", {"additional_headers": {"Cookie": f'a@b=1; pref={{"a":1}}; token={SECRET}'}}, True),
        ("/wss", {"subprotocols": ["chat", f"token.{SECRET}"]}, True),
        ("/wss", {}, False),
        ("/wss?token=wrong", {}, False),
        ("/wss", {"additional_headers": {"Cookie": "token="}}, False),
        ("/wss", {"subprotocols": ["chat", "token."]}, False),
        ("/wss?token=%C3%A9", {}, False),
    ],
)
def test_a_token_lets_in(monkeypatch: pytest.MonkeyPatch, path: str, options: Any, is_let_in: bool) -> None:
    monkeypatch.setattr(token, "TOKEN", SECRET)
    with serve(Application(token.handler, token.process_request), SUBPROTOCOLS="chat") as server:
        if is_let_in:
            with server.connect(path, **options) as client:
                client.send("tom")
                assert client.recv(timeout=60) == "tom"
                assert client.subprotocol == ("chat" if "subprotocols" in options else None)
        else:
            with pytest.raises(InvalidStatus, match="401"), server.connect(path, **options):
                pass


def test_without_a_token_of_its_own_the_example_lets_nobody_in() -> None:
    with (
        serve(Application(token.handler, token.process_request)) as server,
        pytest.raises(InvalidStatus, match="401"),
        server.connect("/wss?token="),
    ):
        pass


@pytest.mark.parametrize("message", ["wrong", "", b"s3cret", "é"])
def test_a_wrong_first_message_closes_with_1008(monkeypatch: pytest.MonkeyPatch, message: str | bytes) -> None:
    monkeypatch.setattr(first_message, "TOKEN", SECRET)
    with serve(first_message.handler) as server, server.connect() as client:
        client.send(message)
        with pytest.raises(ConnectionClosedError, match="1008"):
            client.recv(timeout=60)


def test_the_right_first_message_is_welcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_message, "TOKEN", SECRET)
    with serve(first_message.handler) as server, server.connect() as client:
        client.send(SECRET)
        assert client.recv(timeout=60) == "welcome"


def test_basic_auth_asks_for_a_password() -> None:
    process_request: Any = basic_auth.process_request
    with serve(Application(basic_auth.handler, process_request)) as server:
        wrong = {"Authorization": "Basic " + b64encode(b"wss:wrong").decode()}
        for headers in ({}, wrong):
            with pytest.raises(InvalidStatus, match="401"), server.connect(additional_headers=headers):
                pass
