"""One place that decides what the log looks like: plain lines on standard error."""

import logging
import sys


def start_logging() -> None:
    """Send the package's log to standard error; of the libraries, what is at least a warning."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s pid=%(process)d %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger("wss").setLevel(logging.INFO)
