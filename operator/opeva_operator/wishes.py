"""What a person's wish does to a job: pure, a part of the plan."""

from opeva_operator import outcome
from opeva_operator.situation import DropWish, Plan, Situation
from opeva_specs.status import Intent, JobStatus, Phase, Reason, Wish, changed
from opeva_specs.wanted import Absent


def granted(s: Situation, status: JobStatus) -> Plan | None:
    """The step that a wish asks for, if there is one: it goes into the status first, and is acted on afterwards."""
    wish, done = s.wish, status.status
    if wish is None:
        return None
    if done.last_wish == wish.id:
        return Plan(status=status, action=DropWish(wish))
    void = _why_void(s, status, wish)
    if void:
        return Plan(status=status, action=DropWish(wish, void))
    if wish.wish == "rerun":
        return _recorded(status, wish, reruns=done.reruns + 1)
    return _wish_to_end(s, status, wish, then_delete=wish.wish == "delete")


def _why_void(s: Situation, status: JobStatus, wish: Wish) -> str:
    """Why a wish has no effect; empty when it has."""
    has_ended = status.status.phase.is_terminal
    if status.status.imported and not has_ended:
        return "the old system started it: use docker to stop its container"
    if wish.digest and wish.digest != status.metadata.digest:
        return f"the wish to {wish.wish} was for another version of the job"
    match wish.wish:
        case "stop":
            return "cannot stop: the job had ended already" if has_ended else ""
        case "delete":
            return ""
        case "rerun":
            return "cannot rerun: no file under specs/ has this job" if isinstance(s.wanted, Absent) else ""
        case other:
            return f"there is no wish {other[:40]!r}"


def _wish_to_end(s: Situation, status: JobStatus, wish: Wish, *, then_delete: bool) -> Plan:
    before = status.status.intent or Intent(reason=Reason.STOPPED_BY_USER, by=wish.by, at=s.now)
    intent = changed(
        before,  # what was done to end it stays done
        reason=Reason.STOPPED_BY_USER,
        by=wish.by,
        message=wish.reason,
        at=s.now,
        then_delete=then_delete or before.then_delete,
    )
    if status.status.phase in (Phase.STARTING, Phase.RUNNING):
        status = outcome.stopping(status, intent)
    return _recorded(status, wish, intent=intent)


def _recorded(status: JobStatus, wish: Wish, **updates: object) -> Plan:
    """The wish goes into the status; the next look takes it away and acts."""
    observed = changed(status.status, last_wish=wish.id, **updates)
    return Plan(status=changed(status, status=observed), action=DropWish(wish))
