"""The doctor's command line: bad usage, exit codes, what machines get."""

import json
import re
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from doctor.__main__ import app


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, arguments)
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "URL"),
        (["example.com"], "no URL of a WebSocket"),
        (["wss://"], "no URL of a WebSocket"),
        (["wss://a:99999/"], "no URL"),
        (["wss://[::1/"], "no URL"),
        (["wss://me@example.com/"], "no user"),
        (["wss://@example.com/"], "no user"),
        (["wss://a..b/"], "no URL"),
        (["--timeout", "inf", "wss://example.com/"], "timeout"),
        (["wss://example.com/#there"], "no fragment"),
        (["--header", "nonsense", "wss://example.com/"], "no header"),
        (["--resolve", "example.com", "wss://example.com/"], "NAME:PORT:ADDRESS"),
        (["--resolve", "example.com:443:nowhere", "wss://example.com/"], "NAME:PORT:ADDRESS"),
        (["--ca", "missing.pem", "wss://example.com/"], "is no file"),
        (["--ca", __file__, "wss://example.com/"], "no certificates in PEM form"),
        (["--client-cert", __file__, "wss://example.com/"], "no certificate with its key"),
        (["--client-key", __file__, "wss://example.com/"], "--client-cert"),
        (["--timeout", "0", "wss://example.com/"], "timeout"),
        (["--idle", "soon", "wss://example.com/"], "idle"),
    ],
)
def test_bad_usage_is_2_and_says_why(arguments: list[str], words: str) -> None:
    code, output = run(*arguments)
    assert code == 2
    assert words in " ".join(output.split())


def test_a_problem_is_1_and_machines_get_it_whole() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"wss://wss.example:{port}/wss"
    code, output = run("--json", "--resolve", f"wss.example:{port}:127.0.0.1", url)
    told = json.loads(output)
    assert (code, told["url"], told["healthy"]) == (1, url, False)
    assert told["findings"][-1]["code"] == "tcp-refused"
    assert told["findings"][-1].keys() == {"step", "mark", "code", "saw", "means", "remedy"}


def test_people_get_the_cause_and_the_remedy() -> None:
    code, output = run("ws://wss.example/wss")
    assert code == 1
    assert "✗ URL" in output
    assert "→ wss://wss.example/wss" in output


def test_every_diagnosis_is_arranged_by_some_test() -> None:
    root = Path(__file__).parents[2]
    sources = "".join(file.read_text() for file in (root / "doctor").glob("*.py"))
    tests = "".join(file.read_text() for file in (root / "tests").rglob("test_doctor*.py"))
    codes = set(re.findall(r'(?:problem|warning)\(\s*"([a-z0-9.-]+)"', sources))
    assert len(codes) > 30
    assert {code for code in codes if f'"{code}"' not in tests} == set()
