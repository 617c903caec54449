"""`python -m bench.instructions [--record]`: warn if an operation takes over 5 % more instructions than recorded.

Callgrind counts the instructions of a worker in the image of the backend. The kernel's are not among them.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

from bench.__main__ import write_certificates
from bench.instructions.comparison import RECORDED, compare
from bench.running import build_stack
from bench.subjects import PROJECT

HERE = Path(__file__).parent
BACKEND, IMAGE = f"{PROJECT}-backend", f"{PROJECT}-instructions"


def build() -> None:
    """Build the image of the backend as Compose does, and with Valgrind in it."""
    build_stack("backend")
    command = ["docker", "build", "--quiet", f"--build-arg=BACKEND={BACKEND}", f"--tag={IMAGE}", str(HERE / "image")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def count() -> dict[str, int]:
    """Return the instructions per operation."""
    with tempfile.TemporaryDirectory() as name:
        write_certificates(Path(name))
        command = ["docker", "run", "--rm", f"--volume={name}:/tls:ro", IMAGE]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, int] = json.loads(done.stdout)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.instructions", description=__doc__)
    parser.add_argument("--record", action="store_true", help="write the figures to recorded.json")
    options = parser.parse_args()
    build()
    figures = count()
    if options.record:
        RECORDED.write_text(json.dumps(figures, indent=1) + "\n")
    text, warnings = compare(figures, json.loads(RECORDED.read_text()))
    print(text, *warnings, sep="\n")


if __name__ == "__main__":
    main()
