"""Lines of closed connections are written together: in order, soon, and all of them."""

import asyncio
import json
import logging
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wss.observability.log_batches import MAX_BATCH, BatchHandler, log_batched

BACKEND = Path(__file__).parents[2] / "backend"
TIMEOUT = 60
PROGRAM = """
import asyncio, logging, os, sys
from wss.config.settings import read_settings
from wss.observability.log_batches import log_batched
from wss.observability.logs import start_logging

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
LOCKS = """
import asyncio, logging, sys, threading
from wss.observability.log_batches import BatchHandler, log_batched

log = logging.getLogger("wss")
has_lock, batch_comes = threading.Event(), threading.Event()

class Chatty(logging.Handler):
    def filter(self, record):
        if record.getMessage() == "of a client":
            batch_comes.set()
        return True

    def emit(self, record):  # with its lock
        if record.getMessage() == "of a thread":
            has_lock.set()
            batch_comes.wait()
            log.warning("within")

async def main():
    thread = asyncio.create_task(asyncio.to_thread(log.info, "of a thread"))
    await asyncio.to_thread(has_lock.wait)
    log_batched(log, "of a client")
    await thread

logging.basicConfig(level=logging.INFO, handlers=[BatchHandler(sys.stderr), Chatty()], format="%(message)s")
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


log = logging.getLogger("wss.batches")


@contextmanager
def batches(*others: logging.Handler) -> Iterator[Stream]:
    """Send what is logged to the stream, through a BatchHandler, and to other handlers."""
    stream = Stream()
    root = logging.getLogger()
    handlers = [BatchHandler(stream), *others]  # type: ignore[arg-type]  # what it needs of a stream
    for handler in handlers:
        root.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield stream
    finally:
        for handler in handlers:
            root.removeHandler(handler)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3 * select.PIPE_BUF // 2)), max_size=300))
def test_lines_are_written_in_order_and_in_pieces_that_a_pipe_keeps(records: list[tuple[bool, int]]) -> None:
    async def check() -> None:
        with batches() as stream:
            expected = []
            for number, (batched, size) in enumerate(records):
                expected.append(f"{number} ".ljust(size, "x"))
                if batched:
                    log_batched(log, expected[-1])
                else:
                    log.info(expected[-1])
                waiting = len(expected) - len(stream.lines)
                assert waiting <= MAX_BATCH
                assert batched or not waiting
            logging.getLogger().handlers[-1].flush()
        assert stream.lines == expected
        assert all(len(text) <= select.PIPE_BUF or text.count("\n") == 1 for text in stream.writes)

    asyncio.run(check())


def test_many_lines_need_few_writes() -> None:
    async def check() -> None:
        with batches() as stream:
            for number in range(MAX_BATCH - 1):
                log_batched(log, f"{number}".zfill(100))
            assert not stream.writes
            await asyncio.wait_for(stream.written.wait(), TIMEOUT)
            assert len(stream.lines) == MAX_BATCH - 1
            assert len(stream.writes) <= MAX_BATCH * 101 / select.PIPE_BUF + 1

    asyncio.run(check())


def test_without_an_event_loop_a_line_is_written_at_once() -> None:
    with batches() as stream:
        log_batched(log, "alone")
        assert stream.lines == ["alone"]


def test_a_record_has_the_time_at_which_it_was_logged_and_its_fields() -> None:
    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record)

    seen: list[logging.LogRecord] = []

    async def check() -> None:
        with batches(Keeper()) as stream:
            before = time.time()
            log_batched(log, "first", code=1006)
            after = time.time()
            assert not seen
            await asyncio.wait_for(stream.written.wait(), TIMEOUT)
        (record,) = seen
        assert before <= record.created <= after
        assert record.msecs == pytest.approx(record.created % 1 * 1000)
        assert (record.getMessage(), record.code) == ("first", 1006)  # type: ignore[attr-defined]

    asyncio.run(check())


def test_a_handler_that_logs_while_it_has_its_lock_blocks_nothing() -> None:
    # In a process of its own, which can be ended if it blocks.
    command = [sys.executable, "-c", LOCKS]
    done = subprocess.run(command, cwd=BACKEND, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    assert sorted(done.stderr.splitlines()) == ["of a client", "of a thread", "within"]


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
