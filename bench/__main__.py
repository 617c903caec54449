"""The command: `make bench`, or `python -m bench [--quick] [--only NAME …]`."""

import argparse
import json
import tempfile
from contextlib import ExitStack
from pathlib import Path

import docker
import trustme
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.charts import charts
from bench.measure import load_generator
from bench.subject import NAME, REPOSITORY, SUBJECTS, build, network, remove_leftovers, running
from bench.tables import tables
from bench.workloads import FULL, QUICK, Bench, Results


def write_certificates(directory: Path) -> None:
    """Write a certificate, its key and its CA, for the subjects and the load generator."""
    directory.chmod(0o755)
    ca = trustme.CA()
    leaf = ca.issue_cert(NAME)
    leaf.private_key_pem.write_to_path(directory / "server.key")
    (directory / "server.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    ca.cert_pem.write_to_path(directory / "ca.pem")
    for file in directory.iterdir():
        file.chmod(0o644)


class Bars:
    """A progress bar for each workload."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, object] = {}

    def advance(self, name: str, total: int) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.advance(self._tasks[name])  # type: ignore[arg-type]  # rich's TaskID is an int


def write(results: Results, directory: Path) -> None:
    """Write results.json, tables.md and the charts."""
    directory.mkdir(exist_ok=True)
    (directory / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (directory / "tables.md").write_text(tables(results))
    for name, chart in charts(results).items():
        (directory / f"{name}.svg").write_text(chart)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="run one short round with fewer sizes")
    parser.add_argument(
        "--only", nargs="+", metavar="WORD", help="measure subjects whose names contain one of the words"
    )
    parser.add_argument(
        "--output", type=Path, default=REPOSITORY / "bench" / "results", help="directory of the results"
    )
    options = parser.parse_args()
    subjects = [
        subject for subject in SUBJECTS if not options.only or any(word in subject.name for word in options.only)
    ]
    columns = (TextColumn("{task.description:12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory() as name,
        ExitStack() as up,
        Progress(*columns, console=Console(stderr=True)) as progress,
    ):
        certs = Path(name)
        write_certificates(certs)
        build()
        engine = docker.from_env()
        remove_leftovers(engine)
        up.enter_context(network(engine))
        bars = Bars(progress)
        loads = []
        for subject in subjects:
            started = up.enter_context(running(engine, subject, certs))
            loads.append(up.enter_context(load_generator(started, certs)))
            bars.advance("start", len(subjects))
        results = Bench(loads, QUICK if options.quick else FULL, bars.advance).run()
    write(results, options.output)
    print(tables(results))
    if lost := {load.running.subject.name: load.lost for load in loads if load.lost}:
        raise SystemExit(f"error: messages without a reply: {lost}")


if __name__ == "__main__":
    main()
