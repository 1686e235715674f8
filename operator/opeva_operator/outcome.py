"""How a status changes as a run goes on, and how a run's end is judged: pure."""

from datetime import datetime

from opeva_operator.engine import Container
from opeva_specs.status import (
    Attempt,
    Generation,
    Intent,
    JobStatus,
    Phase,
    Reason,
    changed,
    condition,
    with_conditions,
)

_SIGNALS = {130: "SIGINT", 134: "SIGABRT", 137: "SIGKILL", 139: "SIGSEGV", 143: "SIGTERM"}
_INIT_REFUSED = "[FATAL tini ("  # Docker's process 1, when the command that it is to run cannot be run


def present(status: JobStatus) -> Generation:
    """The record of the generation that the status shows."""
    number = status.metadata.generation
    return next(g for g in status.status.generations if g.generation == number)


def opened(status: JobStatus, now: datetime) -> JobStatus:
    """With a new open attempt: recorded before anything is created for it."""
    generation = status.metadata.generation
    tries = [a.attempt for a in status.status.attempts if a.generation == generation]
    attempt = Attempt(
        generation=generation, attempt=max(tries, default=0) + 1, queued_at=status.status.queued_at, created_at=now
    )
    observed = changed(
        status.status,
        phase=Phase.STARTING,
        reason=Reason.STARTING,
        message="its container is being created",
        attempts=(*status.status.attempts, attempt),
    )
    return _copy(status, observed)


def unopened(status: JobStatus) -> JobStatus:
    """Without the open attempt, of which nothing was ever created: back in the queue."""
    attempts = tuple(a for a in status.status.attempts if not a.is_open)
    return _copy(
        status, changed(status.status, phase=Phase.QUEUED, reason=Reason.ACCEPTED, message="", attempts=attempts)
    )


def seen(status: JobStatus, found: Container) -> JobStatus:
    """With what the engine tells of the open attempt's container."""
    facts = {
        "container_id": found.id,
        "started_at": found.started_at,
        "engine_state": found.state,
        "image": found.image or None,
    }
    updated = _with_attempt(status, **{key: value for key, value in facts.items() if value is not None})
    if not found.is_live or status.status.phase is Phase.STOPPING:
        return updated
    conditions = with_conditions(
        updated.status.conditions, condition("Progressing", True, Reason.RUNNING, "", found.started_at or _never())
    )
    observed = changed(updated.status, phase=Phase.RUNNING, reason=Reason.RUNNING, message="", conditions=conditions)
    return _copy(updated, observed)


def stopping(status: JobStatus, intent: Intent) -> JobStatus:
    """With an end that was decided and is being enforced."""
    message = f"is being stopped: {intent.message}" if intent.message else "is being stopped"
    return _copy(
        status, changed(status.status, phase=Phase.STOPPING, reason=intent.reason, message=message, intent=intent)
    )


def stopped(status: JobStatus, intent: Intent, now: datetime) -> JobStatus:
    """Ended because somebody, or the files, wanted it."""
    return over(status, Phase.STOPPED, intent.reason, _because(intent), now)


def canceled(status: JobStatus, intent: Intent, now: datetime) -> JobStatus:
    """Ended before anything was started."""
    return over(status, Phase.CANCELED, intent.reason, _because(intent), now)


def failed(status: JobStatus, reason: str, message: str, now: datetime) -> JobStatus:
    """Ended without success."""
    return over(status, Phase.FAILED, reason, message, now)


def judged(status: JobStatus, found: Container, *, engine_restarted: bool, evidence: str, now: datetime) -> JobStatus:
    """The outcome of a container that has ended: the engine's facts, our recorded intent, nothing guessed."""
    status = _with_attempt(
        seen(status, found),
        finished_at=found.finished_at,
        exit_code=found.exit_code,
        oom_killed=found.oom_killed,
    )
    intent, code = status.status.intent, found.exit_code
    if (
        intent is not None
        and intent.signaled_at is not None
        and not (found.finished_at and found.finished_at < intent.signaled_at)
    ):
        return stopped(status, intent, now)
    if code == 0:
        return over(status, Phase.FINISHED, Reason.COMPLETED, "exit code 0", now)
    reason, words = _failure(found, engine_restarted, evidence)
    return failed(status, reason, words, now)


def _failure(found: Container, engine_restarted: bool, evidence: str) -> tuple[Reason, str]:
    """Why a run ended that should not have ended like this, and the words for it."""
    code = found.exit_code
    if found.oom_killed:
        return Reason.OUT_OF_MEMORY, _with_evidence("the engine ended it for want of memory", evidence)
    if engine_restarted:
        return Reason.ENGINE_RESTART, f"the Docker engine was restarted while it ran (exit code {code})"
    if found.state == "removing" and code == 137:
        return Reason.CONTAINER_LOST, "somebody removed its container while it ran"
    if code in (126, 127) and evidence.startswith(_INIT_REFUSED):
        return Reason.START_FAILED, f"its command cannot be run: {evidence}"
    signal = f" ({_SIGNALS[code]})" if code in _SIGNALS else ""
    return Reason.EXIT_NON_ZERO, _with_evidence(f"exit code {code}{signal}", evidence)


def _with_evidence(words: str, evidence: str) -> str:
    return f"{words}; last it said: {evidence}" if evidence else words


def _because(intent: Intent) -> str:
    who = "" if intent.by == "specs" else f"by {intent.by}"
    return ": ".join(part for part in (who, intent.message) if part)


def over(status: JobStatus, phase: Phase, reason: str, message: str, now: datetime) -> JobStatus:
    """Ended like this: attempt, generation, conditions and phase all tell the same."""
    attempt = status.attempt
    if attempt is not None and attempt.is_open:
        status = _with_attempt(status, reason=reason, message=message, finished_at=attempt.finished_at or now)
    number = status.metadata.generation
    generations = tuple(
        changed(g, phase=phase, reason=reason, message=message) if g.generation == number else g
        for g in status.status.generations
    )
    ended_at = status.attempt.finished_at if status.attempt and status.attempt.finished_at else now
    conditions = with_conditions(
        tuple(c for c in status.status.conditions if c.type not in ("Progressing", "EngineReachable")),
        condition("Complete", phase is Phase.FINISHED, reason, message, now),
    )
    observed = changed(
        status.status,
        phase=phase,
        reason=reason,
        message=message,
        generations=generations,
        conditions=conditions,
        finished_at=ended_at,
    )
    return _copy(status, observed)


def _with_attempt(status: JobStatus, **facts: object) -> JobStatus:
    last = status.attempt
    attempts = tuple(changed(a, **facts) if a is last else a for a in status.status.attempts)
    return _copy(status, changed(status.status, attempts=attempts))


def _copy(status: JobStatus, observed: object) -> JobStatus:
    updated: JobStatus = changed(status, status=observed)
    return updated


def _never() -> datetime:
    raise ValueError("a live container has a start time")
