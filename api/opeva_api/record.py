"""Record: what clients are told of one job, encoded once; the same words in every answer.

Ten thousand ended jobs are kept, so a record is the bytes of its answer and little else.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from opeva_api.mlflow import run_url
from opeva_api.sanitise import dumps, sanitised
from opeva_api.standing import Standing, of_spec, of_status
from opeva_specs.model import SimulationJob
from opeva_specs.settings import Settings
from opeva_specs.status import Phase, Wish, rfc3339

Origin = Literal["status", "rejected", "unseen"]
WORDS = tuple(phase.word for phase in Phase)
ENDED = frozenset(phase.word for phase in Phase if phase.is_terminal)
STOP_REQUESTED = Phase.STOPPING.word
NOT_SEEN_YET = "NotSeenYet"
# What a job may add to its own job_info, as far as lists show it.
JOB_KEYS = (
    "mlflow_run_id", "mlflow_experiment_id", "mlflow_run_url", "mlflow_uri", "mlflow_enabled",
    "run_id", "experiment_id", "tracking_uri",
)  # fmt: skip
TIMES = (
    "submitted_at", "queued_at", "dispatched_at", "started_at", "stop_requested_at", "finished_at", "last_status_at",
    "estimated_finish_at",
)  # fmt: skip
_ENGINE_SAYS = {
    "container_id": "containerId",
    "exit_code": "exitCode",
    "oom_killed": "oomKilled",
    "engine_state": "engineState",
    "image_digest": "imageDigest",
}
_MAX_TEXT = 1024
_PIECE = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One job as it is told of; `body` is the item of `/jobs`, `mark` tells whether its file changed since.

    `standing` is there while the job is active; `is_kept`: its files stay whatever is cleaned up.
    """

    job_id: str
    word: str
    queued_at: float
    source: str
    body: bytes
    mark: int = 0
    origin: Origin = "status"
    standing: Standing | None = None
    is_kept: bool = False

    @property
    def is_ended(self) -> bool:
        """Whether the job has ended, one way or another."""
        return self.word in ENDED

    def told(self) -> dict[str, Any]:
        """The item of `/jobs` as a mapping."""
        found: dict[str, Any] = orjson.loads(self.body)
        return found

    def with_word(self, word: str, **more: Any) -> "Record":
        """The same job told with another status word."""
        return replace(self, word=word, body=_encoded(self.told() | {"status": word} | more))


def as_list(records: Sequence[Record]) -> Iterator[bytes]:
    """The records as one JSON list, in pieces of some 250 kB."""
    if not records:
        yield b"[]"
    for start in range(0, len(records), _PIECE):
        piece = b",".join([record.body for record in records[start : start + _PIECE]])
        is_last = start + _PIECE >= len(records)
        yield b"".join((b"," if start else b"[", piece, b"]" if is_last else b""))


def from_status(
    found: Mapping[str, Any], extras: Mapping[str, Any], settings: Settings, mark: int, seen_at: float
) -> Record | None:
    """The record of a status file, None for a deleted job; raises Key-, Type- or ValueError if damaged."""
    meta, status = found["metadata"], found["status"]
    if status.get("hidden"):
        return None
    told = _told(meta, status, seen_at)
    told["job_info"] = merged_info(_owned(meta, status), extras, settings.mlflow_public_url)
    return replace(
        _record(told, mark, "status"),
        standing=of_status(meta, status, settings.default_demand),
        is_kept=bool((status.get("terms") or {}).get("keep")),
    )


def from_spec(job: SimulationJob, digest: str, queued_at: float, settings: Settings, mark: int = 0) -> Record:
    """The record of a job that the operator has not seen yet."""
    name = job.metadata.name
    told = _without_attempt(name, "queued", NOT_SEEN_YET, "the operator has not seen this job yet", queued_at)
    told["job_info"] = info_of(job, settings)
    told |= {"digest": digest, "source": f"api/{name}.yaml", "host": job.spec.target_host or "local"}
    standing = of_spec(job, datetime.fromtimestamp(queued_at, UTC), settings.default_demand)
    return replace(_record(told, mark, "unseen"), standing=standing)


def from_rejection(name: str, source: str, message: str, at: float, mark: int = 0) -> Record:
    """The record of a spec file that cannot be accepted."""
    told = _without_attempt(name, "failed", "SpecInvalid", f"specs/{source}: {message}"[:_MAX_TEXT], at)
    return _record(told | {"finished_at": at, "source": source}, mark, "rejected")


def with_wish(record: Record, wish: Wish | None) -> Record:
    """The record as it reads while somebody's wish to stop it waits to be taken up."""
    if wish is None or wish.wish != "stop" or record.is_ended or record.word == STOP_REQUESTED:
        return record
    told = record.told()
    if told.get("last_wish") == wish.id or (wish.digest and wish.digest != told.get("digest")):
        return record
    return record.with_word(STOP_REQUESTED, stop_requested_at=wish.at.timestamp())


def merged_info(owned: Mapping[str, Any], extras: Mapping[str, Any], public_url: str | None) -> dict[str, Any]:
    """job_info as told: what the job added, overruled by what the operator knows, with a link that works or none."""
    given = {key: value for key, value in extras.items() if key not in owned or owned[key] is None}
    info = {**given, **owned}
    info = {key: value for key, value in info.items() if value is not None and key != "mlflow_run_url"}
    link = run_url({**extras, **info}, public_url)
    return info if link is None else {**info, "mlflow_run_url": link}


def job_keys(written: Any) -> dict[str, Any]:
    """What lists show of the job_info that a job has written to: a few short values."""
    if not isinstance(written, dict):
        return {}
    short = {key: value for key, value in written.items() if key in JOB_KEYS and isinstance(value, str | int | bool)}
    found: dict[str, Any] = sanitised({key: v for key, v in short.items() if len(str(v)) <= _MAX_TEXT})
    return found


def info_of(job: SimulationJob, settings: Settings) -> dict[str, Any]:
    """job_info as it will be, read off the spec."""
    notes = job.metadata.annotations
    image = job.spec.image or settings.default_image
    info = {
        "job_id": job.metadata.name,
        "job_name": notes.get("opeva.io/job-name") or job.metadata.name,
        "config_path": job.spec.config_path,
        "target_host": job.spec.target_host or "local",
        "submitted_by": job.spec.submitted_by,
        "image": image,
        "image_tag": notes.get("opeva.io/image-tag"),
    }
    return {key: value for key, value in info.items() if value is not None}


def as_info(record: Record, extras: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of `/job-info`: one flat object, times as text; `extras` fill in what nobody else tells."""
    told = record.told()
    told.update(so_far(told, time.time()), eta=eta_of(told))
    told.update({key: _iso(told.get(key)) for key in TIMES})
    info = told.pop("job_info")
    flat = {**extras, **info, **told}
    flat["error"] = told["message"] if record.word == "failed" else None
    return {key: value for key, value in flat.items() if value is not None}


def _told(meta: Mapping[str, Any], status: Mapping[str, Any], seen_at: float) -> dict[str, Any]:
    """What clients are told of a status, but for its job_info."""
    word = Phase(status["phase"]).word
    tries = [a for a in status.get("attempts", ()) if a["generation"] == meta["generation"]]
    attempt = tries[-1] if tries else {}
    times = _times(status, attempt, word)
    told = {
        "job_id": meta["name"],
        "status": word,
        "reason": status["reason"],
        "message": status.get("message", "")[:_MAX_TEXT],
        "host": status.get("host") or "local",
        **times,
        "last_status_at": seen_at,
        **_progress(attempt.get("progress") or {}, word),
        **_durations(times),
        "requeue_count": max(len(tries) - 1, 0),
        "attempt_number": attempt.get("attempt", 0),
        "generation": meta["generation"],
        **{word: attempt.get(key) for word, key in _ENGINE_SAYS.items()},
        "digest": meta["digest"],
        "source": meta["source"],
        "last_wish": status.get("lastWish"),
    }
    return told if word in ENDED else told | {"eta": eta_of(told)}


def _owned(meta: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
    """What of job_info the operator knows."""
    has_config = status.get("configDigest") is not None
    return {"job_id": meta["name"], **(status.get("jobInfo") or {}), "resolved_config_available": has_config}


def _record(told: dict[str, Any], mark: int, origin: Origin) -> Record:
    return Record(
        job_id=told["job_id"],
        word=told["status"],
        queued_at=told["submitted_at"],
        source=told["source"],
        body=_encoded(told),
        mark=mark,
        origin=origin,
    )


def _encoded(told: dict[str, Any]) -> bytes:
    return bytes(memoryview(dumps(told)))  # a copy of the exact size: the encoder's own buffer is 8 KiB and more


def _without_attempt(name: str, word: str, reason: str, message: str, at: float) -> dict[str, Any]:
    told: dict[str, Any] = {"job_id": name, "status": word, "reason": reason, "message": message}
    told["job_info"] = {"job_id": name, "job_name": name}
    told |= dict.fromkeys(TIMES) | {"submitted_at": at, "queued_at": at, "last_status_at": at}
    told |= {"queue_wait_seconds": None, "run_duration_seconds": None, "total_duration_seconds": None}
    told |= {"percent": None, "eta_seconds": None}
    return told | {"requeue_count": 0, "attempt_number": 0, "generation": 0}


def _progress(found: Mapping[str, Any], word: str) -> dict[str, Any]:
    """How far the job is by the operator's reckoning; how much longer it takes is told of running jobs only."""
    is_live = word not in ENDED
    return {
        "percent": 100.0 if word == "finished" else found.get("percent"),
        "eta_seconds": found.get("etaSeconds") if is_live else None,
        "estimated_finish_at": _epoch(found.get("estimatedFinishAt")) if is_live else None,
    }


def eta_of(told: Mapping[str, Any]) -> dict[str, Any]:
    """When a job may be done, or why nobody can tell."""
    seconds, finish = told.get("eta_seconds"), told.get("estimated_finish_at")
    if seconds is not None:
        return {"available": True, "eta_seconds": seconds} | ({"estimated_finish_at": _iso(finish)} if finish else {})
    if told["status"] in ENDED:
        return {"available": False, "reason": f"the job is {told['status']}"}
    if told.get("started_at") is None:
        return {"available": False, "reason": "the job has not started"}
    return {"available": False, "reason": "its progress tells too little so far"}


def _times(status: Mapping[str, Any], attempt: Mapping[str, Any], word: str) -> dict[str, float | None]:
    submitted = _epoch(status["queuedAt"])
    ended = status.get("finishedAt") or attempt.get("finishedAt") if word in ENDED else None
    return {
        "submitted_at": submitted,
        "queued_at": _epoch(attempt.get("queuedAt")) or submitted,
        "dispatched_at": _epoch(attempt.get("createdAt")),
        "started_at": _epoch(attempt.get("startedAt")),
        "stop_requested_at": _epoch((status.get("intent") or {}).get("at")),
        "finished_at": _epoch(ended),
    }


def _durations(times: Mapping[str, float | None]) -> dict[str, float | None]:
    """Seconds between two instants that are both known, so they stand still once the job has ended."""
    return {
        "queue_wait_seconds": _between(times["queued_at"], times["started_at"]),
        "run_duration_seconds": _between(times["started_at"], times["finished_at"]),
        "total_duration_seconds": _between(times["submitted_at"], times["finished_at"]),
    }


def so_far(told: Mapping[str, Any], now: float) -> dict[str, float | None]:
    """The durations of a job that goes on, up to now; those that stand still are left out."""
    if told["status"] in ENDED:
        return {}
    running = {"run_duration_seconds": _between(told.get("started_at"), now)}
    waiting = {"queue_wait_seconds": _between(told.get("queued_at"), now)} if told.get("started_at") is None else {}
    return running | waiting | {"total_duration_seconds": _between(told.get("submitted_at"), now)}


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round(max(end - start, 0.0), 6)


def _epoch(instant: str | None) -> float | None:
    return None if instant is None else datetime.fromisoformat(instant).timestamp()


def _iso(epoch: float | None) -> str | None:
    return None if epoch is None else rfc3339(datetime.fromtimestamp(epoch, UTC))
