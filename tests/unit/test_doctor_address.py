"""The doctor, first steps: URL, DNS, TCP."""

import socket

import pytest
from diagnosis import examine, problem_of, warnings_of
from faulty import examine_port, serving


@pytest.mark.parametrize(
    ("url", "code"),
    [("ws://wss.example/wss", "url-ws"), ("https://wss.example/wss", "url-http"), ("http://a", "url-http")],
)
def test_a_scheme_that_is_not_wss_is_the_cause(url: str, code: str) -> None:
    findings = examine(url, timeout=1)
    assert problem_of(findings) == code
    assert findings[-1].remedy.startswith("wss://")


def test_a_name_that_does_not_exist() -> None:
    assert problem_of(examine("wss://nothing.invalid/wss", timeout=5)) == "dns-none"


def test_the_port_of_plain_http_is_suspicious_and_an_address_is_noted() -> None:
    findings = examine("wss://192.0.2.1:80/wss", timeout=0.1)
    assert warnings_of(findings) == {"url-port"}
    assert "an address" in findings[0].saw


def test_the_remedy_keeps_what_was_right() -> None:
    assert examine("ws://wss.example:80/wss?token=1", timeout=1)[-1].remedy == "wss://wss.example/wss?token=1"
    assert examine("ws://wss.example:8282/", timeout=1)[-1].remedy == "wss://wss.example:8282/"


def test_a_port_where_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert problem_of(examine_port(port)) == "tcp-refused"


def test_a_port_that_swallows_what_is_sent() -> None:
    # What a firewall does that drops packets: a queue that is full drops them, too.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        place = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(place)
        assert problem_of(examine_port(place[1])) == "tcp-timeout"
        for client in waiting:
            client.close()


def test_an_address_that_no_way_leads_to() -> None:
    found = examine("wss://wss.example/wss", timeout=1, resolve=(("wss.example", 443, "255.255.255.255"),))
    assert problem_of(found) == "tcp-unreachable"


def test_one_address_of_two_is_dead() -> None:
    with serving(lambda _: None) as port:
        both = (("wss.example", port, "255.255.255.255"), ("wss.example", port, "127.0.0.1"))
        assert "tcp-partly" in warnings_of(examine(f"wss://wss.example:{port}/wss", timeout=1, resolve=both))
