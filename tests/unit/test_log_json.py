"""proxy/log-json: each line that nginx or httpd logs becomes one line of JSON, and nothing of it is lost."""

import json
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server import REPOSITORY

KEYS = ("event", "time", "level", "logger")


def log_json(text: bytes) -> list[dict[str, str]]:
    """Return the lines that the program prints for this input."""
    command = [str(REPOSITORY / "proxy" / "log-json"), "nginx"]
    output = subprocess.run(command, input=text, stdout=subprocess.PIPE, check=True, timeout=60).stdout
    return [json.loads(line) for line in output.decode("ascii").splitlines()]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n")), max_size=20))
def test_each_line_of_text_is_the_event(lines: list[str]) -> None:
    logged = log_json("".join(f"{line}\n" for line in lines).encode())
    assert [line["event"] for line in logged] == lines
    assert all(tuple(line) == KEYS and line["logger"] == "nginx" for line in logged)


@settings(max_examples=20, deadline=None)
@given(st.binary())
def test_no_byte_breaks_a_line(text: bytes) -> None:
    assert len(log_json(text)) == text.count(b"\n") + (text[-1:] not in (b"\n", b""))


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("2026/11/29 05:00:00 [emerg] 1#1: bind() failed", "critical"),
        ("2026/11/29 05:00:00 [error] 31#31: *5 upstream timed out, request: [warn]", "error"),
        ("2026/11/29 05:00:00 [warn] 49#49: *10 limiting connections", "warning"),
        ("2026/11/29 05:00:00 [notice] 1#1: signal process started", "info"),
        ("[Sun Nov 29 05:00:00.123456 2026] [ssl:error] [pid 7:tid 9] AH02032: Hostname", "error"),
        ("[Sun Nov 29 05:00:00.123456 2026] [mpm_event:notice] [pid 7:tid 9] AH00489: resuming", "info"),
        ("error: PROXY_CONNECTIONS=1: too few", "error"),
        ("a line of a library", "info"),
    ],
)
def test_a_line_has_the_level_that_it_names(line: str, level: str) -> None:
    (logged,) = log_json(line.encode())
    assert logged["level"] == level
