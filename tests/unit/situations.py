"""Situations to plan for: statuses, containers and files in as few words as a table needs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from opeva_operator.engine import Container
from opeva_operator.situation import Situation
from opeva_specs.specfiles import Absent, Present
from opeva_specs.status import (
    Attempt,
    Generation,
    Intent,
    JobStatus,
    Meta,
    Observed,
    Phase,
    Reason,
    Wish,
    changed,
    condition,
)

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    """An instant before now."""
    return NOW - timedelta(seconds=seconds)


def present(digest: str = "d1", *, since: float = 100, source: str = "a.yaml", source_hash: str = "h1") -> Present:
    """A file that wants the job like this since so many seconds."""
    return Present(digest=digest, source=source, source_hash=source_hash, documents=1, since=ago(since))


def absent(since: float) -> Absent:
    """No file has wanted the job for so many seconds."""
    return Absent(since=ago(since))


def status(
    phase: Phase = Phase.QUEUED, reason: str = "", *, attempts: tuple[Attempt, ...] = (), **observed: Any
) -> JobStatus:
    """The status of generation 1 of job `a`, digest d1; its present phase, and whatever else is said."""
    ended = phase.is_terminal
    record = Generation(
        generation=1, digest="d1", accepted_at=ago(100), phase=phase if ended else None, reason=reason or None
    )
    meta = Meta(name="a", generation=1, digest="d1", source="a.yaml", source_hash="h1")
    facts = {"generations": (record,), "queued_at": ago(100), "finished_at": ago(1) if ended else None, **observed}
    if ended:
        facts.setdefault("conditions", (condition("Complete", phase is Phase.FINISHED, reason, "", ago(1)),))
    told = Observed(phase=phase, reason=reason or Reason.ACCEPTED, attempts=attempts, **facts)
    return JobStatus(metadata=meta, status=told)


def attempt(number: int = 1, *, reason: str | None = None, **facts: Any) -> Attempt:
    """An attempt of generation 1; open as long as it has no reason."""
    return Attempt(**{"generation": 1, "attempt": number, "queued_at": ago(100), "reason": reason, **facts})


def running(**facts: Any) -> JobStatus:
    """A status that tells of a running container."""
    seen = attempt(container_id="c1", started_at=ago(50))
    return status(Phase.RUNNING, Reason.RUNNING, attempts=(seen,), **facts)


def starting(**facts: Any) -> JobStatus:
    """A status that tells of a container that is being made."""
    return status(Phase.STARTING, Reason.STARTING, attempts=(attempt(),), **facts)


def ended(phase: Phase = Phase.FINISHED, reason: str = Reason.COMPLETED, **facts: Any) -> JobStatus:
    """A status that tells of an ended run."""
    over = attempt(reason=reason, container_id="c1", started_at=ago(50), finished_at=ago(1), exit_code=0)
    return status(phase, reason, attempts=(over,), **facts)


def intent(reason: str = Reason.STOPPED_BY_USER, *, signaled: float | None = None, **facts: Any) -> Intent:
    """A recorded end; signaled so many seconds ago, or not yet."""
    signaled_at = None if signaled is None else ago(signaled)
    return Intent(**{"reason": reason, "by": "ann", "at": ago(60), "signaled_at": signaled_at, **facts})


def with_intent(told: JobStatus, wanted: Intent) -> JobStatus:
    """The same status with a recorded end."""
    decided: JobStatus = changed(told, status=changed(told.status, intent=wanted))
    return decided


def wish(what: str, **facts: Any) -> Wish:
    """A wish of now."""
    return Wish(**{"id": "w1", "wish": what, "by": "ann", "at": NOW, **facts})


def container(state: str = "running", **facts: Any) -> Container:
    """The container of attempt 1 of generation 1."""
    started = state != "created"
    told: dict[str, Any] = {
        "id": "c1", "name": "opeva-v-a", "job": "a", "generation": 1, "attempt": 1, "digest": "d1", "state": state,
        "started_at": ago(50) if started else None, "image": "sim:1",
    }  # fmt: skip
    if state == "exited":
        told |= {"finished_at": ago(1), "exit_code": 0}
    return Container(**{**told, **facts})


def situation(
    told: JobStatus | None = None, found: Any = None, wanted: Any = None, *, now: datetime = NOW, **facts: Any
) -> Situation:
    """What is known of job `a` now; its file wants what the status says unless told otherwise."""
    return replace(
        Situation(name="a", now=now, wanted=wanted or present(), status=told, container=found), **facts
    )  # fmt: skip
