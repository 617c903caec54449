"""The doctor's first checks: URL, DNS, TCP."""

import socket

import pytest
from diagnosis import examine, problem_of, warnings_of
from eventually import LIMIT
from faulty_servers import examine_port, serving


@pytest.mark.parametrize(
    ("url", "code"),
    [("ws://wss.example/wss", "url-ws"), ("https://wss.example/wss", "url-http"), ("http://a", "url-http")],
)
def test_a_scheme_other_than_wss_is_a_problem(url: str, code: str) -> None:
    findings = examine(url, timeout=1)
    assert problem_of(findings) == code
    assert findings[-1].remedy.startswith("wss://")


def test_a_name_that_does_not_exist_is_a_problem() -> None:
    assert problem_of(examine("wss://nothing.invalid/wss", timeout=LIMIT)) == "dns-none"


def test_port_80_is_a_warning_and_an_ip_address_is_noted() -> None:
    findings = examine("wss://192.0.2.1:80/wss", timeout=0.1)
    assert warnings_of(findings) == {"url-port"}
    assert "an IP address" in findings[0].saw


def test_the_remedy_keeps_the_correct_parts_of_the_url() -> None:
    assert examine("ws://wss.example:80/wss?token=1", timeout=1)[-1].remedy == "wss://wss.example/wss?token=1"
    assert examine("ws://wss.example:8282/", timeout=1)[-1].remedy == "wss://wss.example:8282/"


def test_a_port_without_a_listener_is_refused() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        assert problem_of(examine_port(unused.getsockname()[1])) == "tcp-refused"


def test_a_port_that_drops_packets_times_out() -> None:
    # A full accept queue drops packets, as a firewall may.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(address)
        assert problem_of(examine_port(address[1])) == "tcp-timeout"
        for client in waiting:
            client.close()


def test_an_address_without_a_route_is_unreachable() -> None:
    found = examine("wss://wss.example/wss", timeout=1, resolve=(("wss.example", 443, "255.255.255.255"),))
    assert problem_of(found) == "tcp-unreachable"


def test_one_unreachable_address_of_two_is_a_warning() -> None:
    with serving(lambda _: None) as port:
        both = (("wss.example", port, "255.255.255.255"), ("wss.example", port, "127.0.0.1"))
        assert "tcp-partly" in warnings_of(examine(f"wss://wss.example:{port}/wss", timeout=1, resolve=both))
