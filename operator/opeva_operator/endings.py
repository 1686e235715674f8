"""What would end a job now, or later: an edit, a deletion, a suspension, a limit. Pure, a part of the plan."""

from collections.abc import Iterator
from datetime import timedelta

from opeva_operator import outcome
from opeva_operator.situation import Situation
from opeva_specs.status import Intent, JobStatus, Phase, Reason, condition_of
from opeva_specs.wanted import Absent, Present

TOMBSTONE = timedelta(hours=1)  # a branch may be away for a while: its ended jobs must not run again when it is back
_NOW = timedelta(0)
Due = tuple[timedelta, Intent]


def is_other_run(s: Situation, status: JobStatus) -> bool:
    """Whether the job's file wants another run than the one that the status tells of."""
    if not isinstance(s.wanted, Present):
        return False
    return s.wanted.digest != status.metadata.digest or status.status.reruns != outcome.present(status).reruns


def end_wanted(s: Situation, status: JobStatus) -> Intent | None:
    """The end that is due for a job that was started; None when it may go on."""
    return next((intent for left, intent in _ends(s, status) if left <= _NOW), None)


def due_end(s: Situation, status: JobStatus) -> timedelta | None:
    """How long until something ends a job that was started; None while nothing will."""
    return min((left for left, _ in _ends(s, status)), default=None)


def _ends(s: Situation, status: JobStatus) -> Iterator[Due]:
    yield from _by_files(s, status)
    yield from _by_limits(s, status)


def _by_files(s: Situation, status: JobStatus) -> Iterator[Due]:
    wanted, limits, terms = s.wanted, s.limits, status.status.terms
    if isinstance(wanted, Absent) and not s.is_held:
        left = wanted.since + limits.settle + limits.delete_grace - s.now
        yield left, _intent(s, Reason.SPEC_DELETED, "specs", "its file is gone from specs/")
    if isinstance(wanted, Present) and is_other_run(s, status):
        is_wish = wanted.digest == status.metadata.digest  # a person's wish to rerun, not an edit
        left = _NOW if is_wish else wanted.since + limits.settle - s.now
        yield left, _intent(s, Reason.SUPERSEDED, "specs", "its file wants another run now")
    if terms.suspend and terms.suspended_at is not None:
        yield terms.suspended_at + limits.settle - s.now, _intent(s, Reason.SUSPENDED, "specs", "its file says suspend")


def _by_limits(s: Situation, status: JobStatus) -> Iterator[Due]:
    terms, attempt = status.status.terms, status.attempt
    if attempt is None or attempt.started_at is None:
        return
    if terms.active_deadline_seconds is not None:
        limit = terms.active_deadline_seconds
        started_at = attempt.started_at - timedelta(seconds=attempt.clock_offset or 0)
        left = started_at + timedelta(seconds=limit) - s.now
        yield left, _intent(s, Reason.DEADLINE_EXCEEDED, "limits", f"it ran longer than activeDeadlineSeconds: {limit}")
    if terms.stall_seconds is not None and s.beat is not None:
        left = timedelta(seconds=terms.stall_seconds) - s.beat.silent_for
        words = f"no word and no progress for stallSeconds: {terms.stall_seconds}"
        yield left, _intent(s, Reason.STALLED, "limits", words)


def _intent(s: Situation, reason: Reason, by: str, message: str) -> Intent:
    return Intent(reason=reason, by=by, message=message, at=s.now)


def expires_in(s: Situation, status: JobStatus) -> timedelta | None:
    """How long until the files of an ended job are removed, or its tombstone; None while they are to stay."""
    told, terms = status.status, status.status.terms
    if told.hidden:
        is_gone = isinstance(s.wanted, Absent) and not s.is_held
        return s.wanted.since + TOMBSTONE - s.now if is_gone and isinstance(s.wanted, Absent) else None
    is_finished = told.phase is Phase.FINISHED
    seconds = terms.ttl_seconds_after_finished if is_finished else terms.ttl_seconds_after_failed
    end = condition_of(status, "Complete")  # by our clock; the end of the attempt is told by the engine's
    if seconds is None or terms.keep or end is None:
        return None
    return end.last_transition_time + timedelta(seconds=seconds) - s.now


def wants_more(status: JobStatus) -> bool:
    """Whether something is still due for an ended job: its deletion, or the end of its files' time."""
    intent, terms = status.status.intent, status.status.terms
    ttls = (terms.ttl_seconds_after_finished, terms.ttl_seconds_after_failed)
    if status.status.hidden:  # without its file, a tombstone goes as well
        spec = condition_of(status, "SpecPresent")
        return spec is None or spec.status != "True"
    return (intent is not None and intent.then_delete) or any(ttl is not None for ttl in ttls)
