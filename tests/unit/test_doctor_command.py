"""The doctor's command line: invalid usage, exit codes, text and JSON output."""

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
        (["example.com"], "not the URL of a WebSocket"),
        (["wss://"], "not the URL of a WebSocket"),
        (["wss://a:99999/"], "not a valid URL"),
        (["wss://[::1/"], "not a valid URL"),
        (["wss://me@example.com/"], "no user"),
        (["wss://@example.com/"], "no user"),
        (["wss://a..b/"], "not a valid URL"),
        (["--timeout", "inf", "wss://example.com/"], "timeout"),
        (["wss://example.com/#there"], "no fragment"),
        (["--header", "nonsense", "wss://example.com/"], "not a header"),
        (["--resolve", "example.com", "wss://example.com/"], "NAME:PORT:ADDRESS"),
        (["--resolve", "example.com:443:nowhere", "wss://example.com/"], "NAME:PORT:ADDRESS"),
        (["--ca", "missing.pem", "wss://example.com/"], "is not a file"),
        (["--ca", __file__, "wss://example.com/"], "contains no PEM certificates"),
        (["--client-cert", __file__, "wss://example.com/"], "not a PEM certificate with its key"),
        (["--client-key", __file__, "wss://example.com/"], "--client-cert"),
        (["--timeout", "0", "wss://example.com/"], "timeout"),
        (["--idle", "soon", "wss://example.com/"], "idle"),
    ],
)
def test_invalid_usage_exits_with_2_and_the_reason(arguments: list[str], words: str) -> None:
    code, output = run(*arguments)
    assert code == 2
    assert words in " ".join(output.split())


def test_a_problem_exits_with_1_and_the_json_has_all_of_it() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        port = unused.getsockname()[1]
        url = f"wss://wss.example:{port}/wss"
        code, output = run("--json", "--resolve", f"wss.example:{port}:127.0.0.1", url)
    assert output.startswith("{"), output
    report = json.loads(output)
    assert (code, report["url"], report["healthy"]) == (1, url, False)
    assert report["findings"][-1]["code"] == "tcp-refused"
    assert report["findings"][-1].keys() == {"step", "mark", "code", "saw", "means", "remedy"}


def test_the_text_has_the_cause_and_the_remedy() -> None:
    code, output = run("ws://wss.example/wss")
    assert code == 1
    assert "✗ URL" in output
    assert "→ wss://wss.example/wss" in output


def test_each_diagnosis_has_a_test() -> None:
    root = Path(__file__).parents[2]
    sources = "".join(file.read_text() for file in (root / "doctor").glob("*.py"))
    tests = "".join(file.read_text() for file in (root / "tests").rglob("test_doctor*.py"))
    codes = set(re.findall(r'(?:problem|warning)\(\s*"([a-z0-9.-]+)"', sources))
    assert len(codes) > 30
    assert {code for code in codes if f'"{code}"' not in tests} == set()
