"""Where messages go: all to the job's log file, trouble to stderr as well."""

import contextlib
import logging
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


class Sentence(logging.Formatter):
    """One line for each message: what belongs to a bug hunt is in the log file."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the message alone, without a traceback."""
        return f"{record.levelname.lower()}: {' '.join(record.getMessage().split())}"


@contextlib.contextmanager
def open_log(path: Path, stderr: TextIO | None = None) -> Iterator[None]:
    """Sends messages to this file, warnings and errors to stderr too, until the block ends."""
    file = logging.FileHandler(path, encoding="utf-8")
    line = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    line.converter = time.gmtime
    file.setFormatter(line)
    console = logging.StreamHandler(sys.stderr if stderr is None else stderr)
    console.setLevel(logging.WARNING)
    console.setFormatter(Sentence())
    root = logging.getLogger()
    handlers: tuple[logging.Handler, ...] = (file, console)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        with warnings.catch_warnings():
            # gym and pandas warn about their own future, which says nothing about this run.
            warnings.simplefilter("ignore")
            yield
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
