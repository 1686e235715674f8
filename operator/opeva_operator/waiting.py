"""What keeps a job from starting by itself, whatever its surroundings are: pure, a part of the plan."""

from datetime import timedelta

from opeva_operator import outcome
from opeva_operator.situation import Situation, Unreachable
from opeva_specs.status import JobStatus, Reason
from opeva_specs.terms import Blocker


def own_blockers(s: Situation, status: JobStatus) -> list[Blocker]:
    """What keeps the job itself from starting, whatever its surroundings are."""
    found = []
    if s.is_held:
        words = "many specs vanished at once: waits until its file is back, or a person decides"
        found.append(
            Blocker(kind=Reason.HELD, message=words, unblocks="its file is back, or control/confirm-deletions")
        )
    if status.status.terms.suspend:
        words = "its spec says suspend: true"
        found.append(Blocker(kind=Reason.SUSPENDED, message=words, unblocks="suspend: false in its spec"))
    retry_at = status.status.retry_at
    if retry_at is not None and s.now < retry_at:
        told = (b for b in status.status.blockers if b.kind == Reason.BACK_OFF)
        found.append(next(told, outcome.back_off("tried again", retry_at)))
    if isinstance(s.container, Unreachable):
        words = f"waits for the Docker engine: {s.container.message}"  # woken when it answers
        found.append(Blocker(kind=Reason.ENGINE_UNREACHABLE, message=words, unblocks="the engine answers"))
    return found


def until_retry(s: Situation, status: JobStatus) -> timedelta | None:
    """How long until the job may be tried again; None when that time has come, or there is none."""
    retry_at = status.status.retry_at
    return retry_at - s.now if retry_at is not None and retry_at > s.now else None
