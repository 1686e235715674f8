"""How a status changes as a run goes on, and how a run's end is judged: pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from opeva_operator.engine import Container
from opeva_operator.retries import CHARGED, Again, Enough, verdict
from opeva_operator.situation import Beat
from opeva_specs.status import (
    Attempt,
    Generation,
    Intent,
    JobStatus,
    Phase,
    Reason,
    changed,
    condition,
    condition_of,
    rfc3339,
    with_conditions,
)
from opeva_specs.terms import Blocker, Progress

_SIGNALS = {130: "SIGINT", 134: "SIGABRT", 137: "SIGKILL", 139: "SIGSEGV", 143: "SIGTERM"}
_INIT_REFUSED = "[FATAL tini ("  # Docker's process 1, when the command that it is to run cannot be run


def present(status: JobStatus) -> Generation:
    """The record of the generation that the status shows."""
    number = status.metadata.generation
    return next(g for g in status.status.generations if g.generation == number)


def opened(status: JobStatus, now: datetime, boot_id: str | None = None) -> JobStatus:
    """With a new open attempt: recorded before anything is created for it."""
    generation = status.metadata.generation
    tries = [a.attempt for a in status.status.attempts if a.generation == generation]
    attempt = Attempt(
        generation=generation,
        attempt=max(tries, default=0) + 1,
        host=status.status.host,
        boot_id=boot_id,
        queued_at=status.status.retry_at or status.status.queued_at,
        created_at=now,
    )
    observed = changed(
        status.status,
        phase=Phase.STARTING,
        reason=Reason.STARTING,
        message="its container is being created",
        attempts=(*status.status.attempts, attempt),
        blockers=(),
        retry_at=None,
    )
    return _copy(status, observed)


def unopened(status: JobStatus) -> JobStatus:
    """Without the open attempt, of which nothing was ever created: back in the queue."""
    attempts = tuple(a for a in status.status.attempts if not a.is_open)
    return _copy(
        status, changed(status.status, phase=Phase.QUEUED, reason=Reason.ACCEPTED, message="", attempts=attempts)
    )


def seen(status: JobStatus, found: Container, clock_offset: timedelta = timedelta(0)) -> JobStatus:
    """With what the engine tells of the open attempt's container."""
    attempt = status.attempt
    is_new = found.started_at is not None and attempt is not None and attempt.clock_offset is None
    facts = {
        "clock_offset": clock_offset.total_seconds() if is_new else None,
        "container_id": found.id,
        "started_at": found.started_at,
        "engine_state": found.state,
        "image": found.image or None,
    }
    updated = _with_attempt(status, **{key: value for key, value in facts.items() if value is not None})
    if not found.is_live or status.status.phase is Phase.STOPPING:
        return updated
    return _copy(updated, changed(updated.status, phase=Phase.RUNNING, reason=Reason.RUNNING, message=""))


def beating(status: JobStatus, found: Container, beat: Beat | None, now: datetime) -> JobStatus:
    """With the signs of life that a running job gives."""
    is_alive = beat is None or not beat.is_stalled
    progressing = condition(
        "Progressing",
        is_alive,
        Reason.RUNNING if is_alive else Reason.STALLED,
        beat.words if beat is not None and beat.is_stalled else "",
        (found.started_at or now) if condition_of(status, "Progressing") is None else now,
    )
    observed = changed(status.status, conditions=with_conditions(status.status.conditions, progressing))
    updated = _copy(status, observed)
    return updated if beat is None or beat.progress is None else _with_attempt(updated, progress=beat.progress)


def stopping(status: JobStatus, intent: Intent) -> JobStatus:
    """With an end that was decided and is being enforced."""
    message = f"is being stopped: {intent.message}" if intent.message else "is being stopped"
    return _copy(
        status, changed(status.status, phase=Phase.STOPPING, reason=intent.reason, message=message, intent=intent)
    )


def delivered(status: JobStatus, now: datetime) -> JobStatus:
    """With the first signal taken by the engine: it is not sent again."""
    intent = status.status.intent
    if intent is None or intent.delivered_at is not None:
        return status
    return _copy(status, changed(status.status, intent=changed(intent, delivered_at=now)))


def concluded(status: JobStatus, intent: Intent, end: "End") -> JobStatus:
    """Ended because of an end that was decided: by somebody, by the files, or by a limit."""
    words = _because(intent)
    if intent.reason == Reason.SUSPENDED:
        return suspended(status, words, end.now)
    if intent.reason in (Reason.DEADLINE_EXCEEDED, Reason.STALLED):
        return failed(status, intent.reason, _with_evidence(words, end.evidence), end)
    return over(status, Phase.STOPPED, intent.reason, words, end.now)


def suspended(status: JobStatus, words: str, now: datetime) -> JobStatus:
    """Back in the queue, the attempt closed and charged to nobody."""
    return _waiting(_closed(status, Reason.SUSPENDED, words, now), Reason.SUSPENDED, words)


def canceled(status: JobStatus, intent: Intent, now: datetime) -> JobStatus:
    """Ended before anything was started."""
    if intent.reason == Reason.SUSPENDED:
        return suspended(status, _because(intent), now)
    mine = [a for a in status.status.attempts if a.generation == status.metadata.generation]
    has_run = any(a.started_at is not None for a in mine)
    return over(status, Phase.STOPPED if has_run else Phase.CANCELED, intent.reason, _because(intent), now)


def failed(status: JobStatus, reason: str, message: str, end: "End") -> JobStatus:
    """The attempt ended without success: another one follows, or the generation has failed."""
    attempt = status.attempt
    exit_code = attempt.exit_code if attempt is not None and attempt.is_open else None
    next_step = Enough() if _is_over_by_person(status) else verdict(status, reason, exit_code, end.server_retries)
    if isinstance(next_step, Again):
        retry_at = end.now + next_step.after
        pause = back_off(f"{next_step.words}, for the last attempt ended with {reason}: {message};", retry_at)
        waiting = _waiting(_closed(status, reason, message, end.now), Reason.BACK_OFF, pause.message)
        return _copy(waiting, changed(waiting.status, retry_at=retry_at, blockers=(pause,)))
    return _given_up(_closed(status, reason, message, end.now), reason, message, next_step, end.now)


def _is_over_by_person(status: JobStatus) -> bool:
    """Whether a person wants it to end: however it ends then, nothing follows."""
    return status.status.intent is not None and status.status.intent.reason == Reason.STOPPED_BY_USER


def not_again(status: JobStatus, server_retries: int, now: datetime) -> JobStatus | None:
    """The end of a job that waits for a retry which its terms allow no more; None while they allow it."""
    last = status.attempt
    if status.status.retry_at is None or last is None or last.reason is None:
        return None
    before = _copy(status, changed(status.status, attempts=tuple(a for a in status.status.attempts if a is not last)))
    next_step = verdict(before, last.reason, last.exit_code, server_retries)
    if isinstance(next_step, Again):
        return None
    return _given_up(status, last.reason, last.message or "", next_step, now)


def _given_up(status: JobStatus, reason: str, message: str, why: Enough, now: datetime) -> JobStatus:
    """Failed for good, the last attempt being closed."""
    if why.is_exhausted:
        tries = sum(a.generation == status.metadata.generation and a.reason in CHARGED for a in status.status.attempts)
        words = f"{tries} attempts failed; the last one: {reason}, {message}"
        return over(status, Phase.FAILED, Reason.RETRIES_EXHAUSTED, words, now)
    return over(status, Phase.FAILED, reason, message, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """What is known around an end: the time, and the evidence."""

    now: datetime
    evidence: tuple[str, ...] = ()  # the last lines of the log
    server_retries: int = 0
    engine_restarted: bool = False
    host_rebooted: bool = False
    clock_offset: timedelta = timedelta(0)  # the engine's clock minus ours


def judged(status: JobStatus, found: Container, end: End) -> JobStatus:
    """The outcome of a container that has ended: the engine's facts, our recorded intent, nothing guessed."""
    status = _with_attempt(
        seen(status, found, end.clock_offset),
        finished_at=found.finished_at,
        exit_code=found.exit_code,
        oom_killed=found.oom_killed,
        evidence=end.evidence,
    )
    intent, code = status.status.intent, found.exit_code
    finished_at = found.finished_at - end.clock_offset if found.finished_at else None
    if intent is not None and intent.signaled_at is not None:
        if not (finished_at and finished_at < intent.signaled_at):
            return concluded(status, intent, end)
    if code == 0:
        return over(status, Phase.FINISHED, Reason.COMPLETED, "exit code 0", end.now)
    return failed(status, *_failure(found, end), end)


def _failure(found: Container, end: End) -> tuple[Reason, str]:
    """Why a run ended that should not have ended like this, and the words for it."""
    code = found.exit_code
    if found.oom_killed:
        return Reason.OUT_OF_MEMORY, _with_evidence("the engine ended it for want of memory", end.evidence)
    if end.host_rebooted:
        return Reason.HOST_REBOOT, f"its host was restarted while it ran (exit code {code})"
    if end.engine_restarted:
        return Reason.ENGINE_RESTART, f"the Docker engine was restarted while it ran (exit code {code})"
    if found.state == "removing" and code == 137:
        return Reason.CONTAINER_LOST, "somebody removed its container while it ran"
    if code in (126, 127) and end.evidence and end.evidence[-1].startswith(_INIT_REFUSED):
        return Reason.BAD_COMMAND, f"its command cannot be run: {end.evidence[-1]}"
    signal = f" ({_SIGNALS[code]})" if code in _SIGNALS else ""
    return Reason.EXIT_NON_ZERO, _with_evidence(f"exit code {code}{signal}", end.evidence)


def _with_evidence(words: str, evidence: tuple[str, ...]) -> str:
    return f"{words}; last it said: {evidence[-1]}" if evidence else words


def blocked(status: JobStatus, blockers: tuple[Blocker, ...]) -> JobStatus:
    """Waiting, and told for what: the first of the blockers is the reason."""
    reason, words = Reason.ACCEPTED, "its turn comes"
    if blockers:
        more = f" (and {len(blockers) - 1} more in its way)" if len(blockers) > 1 else ""
        reason, words = Reason(blockers[0].kind), blockers[0].message + more
    observed = changed(status.status, phase=Phase.QUEUED, reason=reason, message=words, blockers=blockers)
    return _copy(status, observed)


def back_off(words: str, retry_at: datetime) -> Blocker:
    """The blocker of a job that waits for its next attempt."""
    until = rfc3339(retry_at)
    return Blocker(
        kind=Reason.BACK_OFF,
        message=f"{words} not before {until[:19]}Z",
        unblocks="that time comes",
        details={"until": until},
    )


def _waiting(status: JobStatus, reason: str, words: str) -> JobStatus:
    """In the queue, with its attempts so far."""
    conditions = tuple(c for c in status.status.conditions if c.type != "Progressing")
    observed = changed(
        status.status,
        phase=Phase.QUEUED,
        reason=reason,
        message=words,
        intent=None,
        conditions=conditions,
    )
    return _copy(status, observed)


def _closed(status: JobStatus, reason: str, message: str, now: datetime) -> JobStatus:
    """With the end of the open attempt recorded, if there is one."""
    attempt = status.attempt
    if attempt is None or not attempt.is_open:
        return status
    return _with_attempt(status, reason=reason, message=message, finished_at=attempt.finished_at or now)


def _because(intent: Intent) -> str:
    who = "" if intent.by in ("specs", "limits") else f"by {intent.by}"
    return ": ".join(part for part in (who, intent.message) if part)


def over(status: JobStatus, phase: Phase, reason: str, message: str, now: datetime) -> JobStatus:
    """Ended like this: attempt, generation, conditions and phase all tell the same."""
    status = _closed(status, reason, message, now)
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
        blockers=(),
        retry_at=None,
    )
    return _copy(status, observed)


def reached(status: JobStatus, progress: Progress | None) -> JobStatus:
    """With how far the newest attempt came, if that is known."""
    return status if progress is None else _with_attempt(status, progress=progress)


def _with_attempt(status: JobStatus, **facts: object) -> JobStatus:
    last = status.attempt
    attempts = tuple(changed(a, **facts) if a is last else a for a in status.status.attempts)
    return _copy(status, changed(status.status, attempts=attempts))


def _copy(status: JobStatus, observed: object) -> JobStatus:
    updated: JobStatus = changed(status, status=observed)
    return updated


def tombstone(status: JobStatus) -> JobStatus:
    """A record that nobody is shown: without it a file that is not ours would have the job run again."""
    hidden: JobStatus = changed(status, status=changed(status.status, hidden=True))
    return hidden
