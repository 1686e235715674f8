"""JobFiles: what jobs write about themselves, read with care: it may be torn, huge, full of NaN, or a planted link."""

import errno
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from opeva_api.index import MAX_INFO_BYTES
from opeva_api.recent import Recent
from opeva_api.record import Record, eta_of
from opeva_api.sanitise import loads_lenient, sanitised
from opeva_api.simulationdata import sessions
from opeva_specs.progress import finite, percent_of
from opeva_specs.status import rfc3339
from opeva_specs.store import Damaged, StatusStore
from opeva_specs.volume import SharedVolume

MAX_PROGRESS_BYTES = 256 * 1024
MAX_RESULT_BYTES = 16 * 2**20
NO_UPDATES = "No updates yet."
PENDING = {"status": "pending", "message": "Result not ready yet."}
_ALMOST = 99.9  # 100 is said of finished jobs only
_ETA = ("eta_seconds", "estimated_finish_at")
_KEPT = 2048
_KEPT_FILES = 128  # of live jobs, and only small ones: a job decides what it writes
_SMALL = 64 * 1024

Run = tuple[str, int, int]


def run_of(told: Mapping[str, Any]) -> Run:
    """Which try of which generation of which job is told of."""
    return told["job_id"], told["generation"], told["attempt_number"]


class JobFiles:
    """Progress, results and job_info of jobs; while a file cannot be read, what was last read of it."""

    def __init__(self, volume: SharedVolume) -> None:
        self._volume = volume
        self._progress: Recent[Run, dict[str, Any]] = Recent(_KEPT_FILES)
        self._percent: Recent[Run, float] = Recent(_KEPT)
        self._info: Recent[Run, dict[str, Any]] = Recent(_KEPT_FILES)

    def progress(self, record: Record) -> dict[str, Any]:
        """The job's own words, and one percentage that never falls within an attempt."""
        told = record.told()
        run = run_of(told)
        found = {} if is_of_an_earlier_run(told, record) else self._read_progress(record, run)
        percent = 100.0 if record.word == "finished" else self._never_falling(run, _percent(told, found, record))
        eta = eta_of(told)
        known = {key: eta[key] for key in _ETA if key in eta}
        return {
            **found,
            "progress": found or NO_UPDATES,
            "percent": percent,
            "progress_pct": percent,
            **known,
            "eta": eta,
        }

    def result(self, record: Record) -> dict[str, Any]:
        """The job's result; while it is active `pending`, and of a dead job without one the reason why."""
        told = record.told()
        if is_of_an_earlier_run(told, record):
            return _no_result(told, "it never ran") if record.is_ended else dict(PENDING)
        try:
            found = loads_lenient(self._volume.read(f"jobs/{record.job_id}/results/result.json", MAX_RESULT_BYTES))
        except OSError as error:
            return _no_result(told, _why_unread(error)) if record.is_ended else dict(PENDING)
        except ValueError:
            return _no_result(told, "results/result.json is no readable JSON") if record.is_ended else dict(PENDING)
        clean = sanitised(found if isinstance(found, dict) else {"result": found}) | self._data_of(record)
        if record.is_ended and isinstance(found, dict) and found.get("status") == "pending":
            return _no_result(told, "results/result.json still says pending")
        return dict(clean)

    def info(self, record: Record) -> dict[str, Any]:
        """What the job's `job_info.json` says, whoever wrote it."""
        run = run_of(record.told())
        try:
            found = loads_lenient(self._volume.read(f"jobs/{record.job_id}/job_info.json", MAX_INFO_BYTES))
            if not isinstance(found, dict):
                raise ValueError("is no object")
        except (OSError, ValueError):
            return self._info.get(run) or {}
        clean = sanitised(found)
        return dict(clean if record.is_ended else self._info.keep(run, clean))

    def _data_of(self, record: Record) -> dict[str, Any]:
        """Where clients find what the job exported, if it did."""
        known = sessions(self._volume, record.job_id)
        return {"simulation_data_available": True, "simulation_data_session_default": known[0]} if known else {}

    def evidence(self, record: Record) -> dict[str, Any]:
        """The last lines of the log of an ended attempt, as they were saved with its end; nothing while it runs."""
        try:
            status = StatusStore(self._volume).read(record.job_id)
        except (OSError, Damaged):
            return {}
        attempt = status.attempt if status is not None else None
        return {"evidence": list(attempt.evidence)} if attempt is not None and attempt.evidence else {}

    def _read_progress(self, record: Record, run: Run) -> dict[str, Any]:
        try:
            fd = self._volume.open(f"jobs/{record.job_id}/progress/progress.json")
            with os.fdopen(fd, "rb") as file:
                written_at = os.fstat(fd).st_mtime
                data = file.read(MAX_PROGRESS_BYTES)
            found = loads_lenient(data)
            if not isinstance(found, dict):
                raise ValueError("is no object")
        except (OSError, ValueError):
            return self._progress.get(run) or {}
        clean = sanitised(found)
        clean.setdefault("updated_at", rfc3339(datetime.fromtimestamp(written_at, UTC)))
        is_kept = not record.is_ended and len(data) <= _SMALL
        return dict(self._progress.keep(run, clean) if is_kept else clean)

    def _never_falling(self, run: Run, percent: float) -> float:
        return self._percent.keep(run, max(min(percent, _ALMOST), self._percent.get(run) or 0.0))


def _percent(told: Mapping[str, Any], found: Mapping[str, Any], record: Record) -> float:
    """The larger one of what the operator reckoned and what the job says; once it has ended, the operator's alone."""
    reckoned = finite(told.get("percent"))
    if reckoned is None:
        return percent_of(found)
    return reckoned if record.is_ended else max(reckoned, percent_of(found))


def is_of_an_earlier_run(told: Mapping[str, Any], record: Record) -> bool:
    """Whether what lies in the job's folder was left by an earlier generation: this one has not run."""
    return told["attempt_number"] == 0 and (not record.is_ended or told["generation"] > 1)


def _no_result(told: Mapping[str, Any], why: str) -> dict[str, Any]:
    word = told["status"]
    message = f": {told['message']}" if told["message"] else ""
    reason = why if word == "finished" else f"the job is {word} ({told['reason']}){message}"
    return {"status": word, "message": f"no result: {reason}"}


def _why_unread(error: OSError) -> str:
    if error.errno == errno.EFBIG:
        return f"results/result.json is larger than {MAX_RESULT_BYTES} bytes: read it on the volume"
    if isinstance(error, FileNotFoundError):
        return "the job wrote no results/result.json"
    return "results/result.json is not a readable file"
