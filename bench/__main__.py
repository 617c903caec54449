"""The command: `make bench`, or `python -m bench [--quick | --short | --thorough] [--only NAME …]`."""

import argparse
import json
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import docker
import trustme
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.machine import busy_cores
from bench.measure import load_generator
from bench.plan import FULL, QUICK, SHORT, Results
from bench.publish import RESULTS, write
from bench.running import NAME, build, build_stack, network, remove_leftovers, running
from bench.subjects import IMAGE, PEERS, SUBJECTS, Subject, selected, workerman, workerman_version
from bench.tables import tables
from bench.workloads import Bench


def write_certificates(directory: Path) -> None:
    """Write a certificate, its key and its CA, for the subjects and the load generator."""
    directory.chmod(0o755)
    ca = trustme.CA()
    leaf = ca.issue_cert(NAME)
    leaf.private_key_pem.write_to_path(directory / "server.key")
    (directory / "server.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    # HAProxy reads one file with both, or a key of this name.
    leaf.private_key_pem.write_to_path(directory / "server.pem.key")
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


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    lengths = parser.add_mutually_exclusive_group()
    lengths.add_argument("--quick", action="store_true", help="run one short round, without the peers of bench/peers")
    lengths.add_argument("--short", action="store_true", help="run two rounds with fewer clients")
    lengths.add_argument("--thorough", action="store_true", help="measure each subject's latency and message sizes")
    parser.add_argument("--peers", action="store_true", help="with --quick: also the peers of bench/peers")
    parser.add_argument(
        "--only", nargs="+", metavar="WORD", help="measure subjects whose names contain one of the words"
    )
    parser.add_argument(
        "--workerman", type=Path, metavar="DIRECTORY", help="also measure the Workerman in this directory"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory of the results")
    options = parser.parse_args()
    if options.workerman and not workerman_version(options.workerman):
        parser.error(f"{options.workerman} has no Workerman. Run `composer require workerman/workerman` in it.")
    return options


def chosen(options: argparse.Namespace) -> tuple[list[Subject], list[str]]:
    """Return the subjects to measure, and what is left out."""
    subjects = (*SUBJECTS, *(workerman(options.workerman) if options.workerman else ()))
    if options.quick and not options.peers:
        subjects = tuple(each for each in subjects if each.image != PEERS)
    measured = selected(subjects, options.only)
    names = {each.name for each in measured}
    missing = [each.name for each in (*SUBJECTS, *workerman(Path())) if each.name not in names]
    left_out = [f"all of {', '.join(missing)}"] if missing else []
    if options.thorough:
        return [replace(each, workloads=each.workloads | each.more) for each in measured], left_out
    workloads = sorted({workload for each in measured for workload in each.more})
    left_out += [f"{name} of {', '.join(each.name for each in measured if name in each.more)}" for name in workloads]
    return measured, left_out


def main() -> None:
    options = parsed()
    subjects, left_out = chosen(options)
    busy_before = busy_cores()
    columns = (TextColumn("{task.description:12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory() as name,
        ExitStack() as up,
        Progress(*columns, console=Console(stderr=True)) as progress,
    ):
        certs = Path(name)
        write_certificates(certs)
        bars = Bars(progress)
        for image in dict.fromkeys((IMAGE, *(each.built_image for each in subjects if each.built_image))):
            build(image)
        build_stack("nginx", "apache", "backend", "certs")
        engine = docker.from_env()
        remove_leftovers(engine)
        up.enter_context(network(engine))
        loads = []
        for subject in subjects:
            started = up.enter_context(running(engine, subject, certs))
            loads.append(up.enter_context(load_generator(started, certs)))
            bars.advance("start", len(subjects))
        results = Bench(loads, QUICK if options.quick else SHORT if options.short else FULL, bars.advance).run()
    results["machine"] |= {"busy_before": busy_before, "busy_after": busy_cores()}
    results["left_out"] = left_out
    results["workerman"] = workerman_version(options.workerman) if options.workerman else ""
    save(results, options.output)
    print(tables(results))
    if lost := {load.running.subject.name: load.lost for load in loads if load.lost}:
        raise SystemExit(f"error: messages without a reply: {lost}")


def save(results: Results, directory: Path) -> None:
    """Write results.json, tables.md and the charts."""
    directory.mkdir(exist_ok=True)
    (directory / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    write(results, directory)


if __name__ == "__main__":
    main()
