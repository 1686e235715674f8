"""One run from its arguments to its exit code: 0 finished, 1 failed, 2 bad arguments, 143 stopped."""

import argparse
import contextlib
import logging
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from citylearn_job.config import read_config
from citylearn_job.folder import JobFolder
from citylearn_job.job import run
from citylearn_job.logbook import open_log
from citylearn_job.progress import Progress, ProgressFile, Status
from citylearn_job.section import ConfigError
from citylearn_job.stop import Stopped, feel_stops, ignore_stops

log = logging.getLogger(__name__)

JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
FAILED = 1


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for."""

    config: Path
    folder: JobFolder


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the job and returns its exit code; bad arguments raise SystemExit(2)."""
    try:
        feel_stops()
        request = parse_arguments(arguments)
        request.folder.prepare()
        with open_log(request.folder.log):
            return _run_to_exit_code(request)
    except OSError as error:
        print(f"error: cannot use the job's folder: {error}", file=sys.stderr)
        return FAILED
    except Stopped as stopped:
        return stopped.exit_code
    finally:
        ignore_stops()


def parse_arguments(arguments: Sequence[str] | None) -> Request:
    """Returns the request; prints what is wrong and raises SystemExit(2) for arguments it cannot use."""
    parser = argparse.ArgumentParser(prog="run_experiment", allow_abbrev=False)
    parser.add_argument("--config", required=True, type=Path, help="the experiment, a YAML or JSON file")
    parser.add_argument("--job_id", "--job-id", required=True, help="the job's name, which is its folder's too")
    parser.add_argument(
        "--base-dir",
        "--base_dir",
        type=Path,
        default=Path(os.environ.get("OPEVA_BASE_DIR") or "/data"),
        help="the shared volume (default: OPEVA_BASE_DIR, else /data)",
    )
    found = parser.parse_args(arguments)
    if not JOB_ID.fullmatch(found.job_id):
        parser.error(f"cannot use {found.job_id!r} as a job id: write letters, digits, '.', '_' and '-'")
    return Request(found.config, JobFolder(found.base_dir, found.job_id))


def _run_to_exit_code(request: Request) -> int:
    """Returns the exit code, after log and progress have told the same story."""
    progress = ProgressFile(request.folder.progress)
    try:
        progress.tell(Progress())
        config = read_config(request.config)
        logging.getLogger().setLevel(config.experiment.log_level)
        run(config, request.folder, progress)
    except Stopped as stopped:
        log.warning("stopped by %s at step %d", stopped.signal.name, progress.latest.done)
        _tell_end(progress, Status.STOPPED)
        return stopped.exit_code
    except ConfigError as error:
        log.error("%s", error)
        _tell_end(progress, Status.FAILED, str(error))
        return FAILED
    except Exception as error:  # the last seam: whatever it is, a person must be able to read it
        message = f"cannot finish the run: {type(error).__name__}: {error}"
        log.exception("%s", message)
        _tell_end(progress, Status.FAILED, message)
        return FAILED
    return 0


def _tell_end(progress: ProgressFile, status: Status, error: str | None = None) -> None:
    # A full disk may be why the run ended; the exit code must still say how.
    with contextlib.suppress(OSError):
        progress.end(status, error)
