"""Lines of closed connections are written together: in order, soon, and all of them."""

import asyncio
import json
import logging
import select
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wss.observability.logs import MAX_BATCH, BatchedRecord, BatchHandler

BACKEND = Path(__file__).parents[2] / "backend"
TIMEOUT = 60
PROGRAM = """
import asyncio, logging, os, sys
from wss.config.settings import read_settings
from wss.observability.logs import log_batched, start_logging

log = logging.getLogger("wss")

async def main():
    log_batched(log, "first")
    if not os.fork():
        sys.exit()
    os.wait()
    log.info("second")
    log_batched(log, "third")

start_logging(read_settings({"LOG_FORMAT": sys.argv[1]}))
asyncio.run(main())
"""


class Stream:
    """A text stream that keeps each write."""

    def __init__(self) -> None:
        self.writes: list[str] = []
        self.written = asyncio.Event()

    def write(self, text: str) -> None:
        self.writes.append(text)
        self.written.set()

    def flush(self) -> None: ...

    @property
    def lines(self) -> list[str]:
        return "".join(self.writes).splitlines()


def _record(text: str, *, batched: bool) -> logging.LogRecord:
    kind = BatchedRecord if batched else logging.LogRecord
    return kind("wss", logging.INFO, __file__, 0, text, (), None)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3 * select.PIPE_BUF // 2)), max_size=300))
def test_lines_are_written_in_order_and_in_pieces_that_a_pipe_keeps(records: list[tuple[bool, int]]) -> None:
    async def check() -> None:
        stream = Stream()
        handler = BatchHandler(stream)  # type: ignore[arg-type]  # what it needs of one
        expected = []
        for number, (batched, size) in enumerate(records):
            expected.append(f"{number} ".ljust(size, "x"))
            handler.handle(_record(expected[-1], batched=batched))
            waiting = len(expected) - len(stream.lines)
            assert waiting <= MAX_BATCH
            assert batched or not waiting
        handler.flush()
        assert stream.lines == expected
        assert all(len(text) <= select.PIPE_BUF or text.count("\n") == 1 for text in stream.writes)

    asyncio.run(check())


def test_many_lines_need_few_writes() -> None:
    async def check() -> None:
        stream = Stream()
        handler = BatchHandler(stream)  # type: ignore[arg-type]
        for number in range(MAX_BATCH):
            handler.handle(_record(f"{number}".zfill(100), batched=True))
        assert not stream.writes
        await asyncio.wait_for(stream.written.wait(), TIMEOUT)
        assert len(stream.lines) == MAX_BATCH
        assert len(stream.writes) <= MAX_BATCH * 101 / select.PIPE_BUF + 1

    asyncio.run(check())


def test_without_an_event_loop_a_line_is_written_at_once() -> None:
    stream = Stream()
    BatchHandler(stream).handle(_record("alone", batched=True))  # type: ignore[arg-type]
    assert stream.lines == ["alone"]


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_process_that_exits_writes_all_lines_and_its_child_none(log_format: str) -> None:
    command = [sys.executable, "-c", PROGRAM, log_format]
    done = subprocess.run(command, cwd=BACKEND, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    lines = done.stderr.splitlines()
    assert [next(word for word in ("first", "second", "third") if word in line) for line in lines] == [
        "first",
        "second",
        "third",
    ]
    if log_format == "json":
        times = [json.loads(line)["time"] for line in lines]
        assert times == sorted(times)
