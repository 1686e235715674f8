"""What to do next about one job: pure. Looks at everything at once, so a missed event changes nothing.

    plan(situation) -> Plan(status, action, recheck_after)

The status is written first (an intent is recorded before it is acted on), then the action is done, then the job is
looked at anew, until there is nothing left to do. At most one action at a time.

    Queued -> Starting -> Running -> Finished | Failed
       |          |          |
       |          +--------> Stopping -> Stopped
       +-> Canceled
"""

from datetime import timedelta

from opeva_operator import endings, outcome
from opeva_operator.endings import due_end, end_wanted, is_other_run
from opeva_operator.engine import Container
from opeva_operator.situation import (
    Accept,
    Adopt,
    Amend,
    Conclude,
    Delete,
    DropWish,
    Expire,
    Launch,
    Plan,
    Remove,
    Restore,
    Signal,
    Situation,
    Start,
    Unreachable,
)
from opeva_operator.waiting import own_blockers, until_retry
from opeva_operator.wishes import granted
from opeva_specs.status import (
    Attempt,
    Intent,
    JobStatus,
    Phase,
    Reason,
    changed,
    condition,
    with_conditions,
)
from opeva_specs.wanted import Absent, Present, Unsure

UNKNOWN_WISH = timedelta(seconds=60)
UNREACHABLE_RECHECK = timedelta(seconds=5)
PULSE_EVERY = timedelta(seconds=10)
KILL_RECHECK = timedelta(seconds=2)
UNKILLABLE_RECHECK = timedelta(seconds=30)


def plan(s: Situation) -> Plan:
    """The next step for one job; the same situation always gives the same plan."""
    if s.status is None:
        return _first_sight(s)
    status = _with_facts(s, s.status)
    for rule in (granted, _imported, _unreachable, _stranger, _attempt, _queued, _ended):
        found = rule(s, status)
        if found is not None:
            return found
    return Plan(status=status)


# -- a name without a status ---------------------------------------------------------------------------------------


def _first_sight(s: Situation) -> Plan:
    if isinstance(s.container, Container) and s.container.is_ours:
        return Plan(status=None, action=Adopt(s.container))
    if isinstance(s.wanted, Present):
        return Plan(status=None, action=Accept(s.wanted))
    if s.wish is None:
        return Plan(status=None)
    if s.now - s.wish.at >= UNKNOWN_WISH:
        return Plan(status=None, action=DropWish(s.wish, f"cannot {s.wish.wish} {s.name!r}: no such job"))
    return Plan(status=None, recheck_after=UNKNOWN_WISH - (s.now - s.wish.at))


def _with_facts(s: Situation, status: JobStatus) -> JobStatus:
    """The status with the conditions that hold whatever the job does."""
    spec = {Present: True, Absent: False, Unsure: None}[type(s.wanted)]
    words = {True: ("Found", ""), False: ("Gone", "no file under specs/ wants this job any more"), None: ("Unsure", "")}
    reason, message = words[spec]
    if s.is_held:
        spec, reason, message = False, Reason.HELD, "many specs vanished at once: this run goes on until they are back"
    elif isinstance(s.wanted, Unsure):
        message = s.wanted.message
    engine_ok = not isinstance(s.container, Unreachable)
    engine_says = "" if engine_ok else str(s.container.message if isinstance(s.container, Unreachable) else "")
    conditions = with_conditions(
        status.status.conditions,
        condition("SpecPresent", spec, reason, message, s.now),
        condition(
            "EngineReachable", engine_ok, "Answers" if engine_ok else Reason.ENGINE_UNREACHABLE, engine_says, s.now
        ),
    )
    if status.status.phase.is_terminal:  # an ended job depends on no engine
        conditions = tuple(c for c in conditions if c.type != "EngineReachable")
    updated: JobStatus = changed(status, status=changed(status.status, conditions=conditions))
    return _with_source(s, updated)


def _with_source(s: Situation, status: JobStatus) -> JobStatus:
    if not isinstance(s.wanted, Present) or s.wanted.digest != status.metadata.digest:
        return status
    meta = status.metadata
    found = {"source": s.wanted.source, "source_documents": s.wanted.documents}
    if meta.source_hash != s.wanted.source_hash and status.status.phase.is_terminal:
        found["source_hash"] = s.wanted.source_hash  # a live one takes it with Amend
    if all(getattr(meta, key) == value for key, value in found.items()):
        return status
    updated: JobStatus = changed(status, metadata=changed(meta, **found))
    return updated


def _imported(s: Situation, status: JobStatus) -> Plan | None:
    """A run that the old system started: looked at, never touched."""
    is_followed = status.status.imported and not status.status.phase.is_terminal
    return Plan(status=status) if is_followed else None


# -- what the engine says ------------------------------------------------------------------------------------------


def _unreachable(s: Situation, status: JobStatus) -> Plan | None:
    attempt = status.attempt
    if not isinstance(s.container, Unreachable) or attempt is None or not attempt.is_open:
        return None
    if is_other_run(s, status) and status.status.reason != Reason.UNKILLABLE:  # that one has given its place back
        words = f"the next run waits, for this one may still be going: {s.container.message}"
        status = _told(status, status.status.phase, Reason.PREVIOUS_RUN_UNKNOWN, words)
    return Plan(status=status, recheck_after=UNREACHABLE_RECHECK)


def _stranger(s: Situation, status: JobStatus) -> Plan | None:
    """A container that is not that of the open attempt: never start beside it."""
    found, attempt = s.container, status.attempt
    if not isinstance(found, Container) or not found.is_ours:
        return None
    mine = (attempt.generation, attempt.attempt) if attempt is not None and attempt.is_open else None
    if (found.generation, found.attempt) == mine:
        return None
    is_recorded = any(
        (a.generation, a.attempt) == (found.generation, found.attempt) and not a.is_open for a in status.status.attempts
    )
    return Plan(status=status, action=Remove(found) if is_recorded else Adopt(found))


def _attempt(s: Situation, status: JobStatus) -> Plan | None:
    attempt = status.attempt
    if attempt is None or not attempt.is_open:
        return None
    found = s.container
    if found is None:
        return _no_container(s, status, attempt)
    if isinstance(found, Unreachable):
        return Plan(status=status, recheck_after=UNREACHABLE_RECHECK)
    if not found.is_ours:
        words = f"a container named {found.name!r} that is not ours stands in the way: rename or remove it"
        return Plan(status=outcome.failed(status, Reason.NAME_CONFLICT, words, _end(s)))
    if found.has_ended:
        return Plan(status=outcome.seen(status, found, s.clock_offset), action=Conclude(found))
    if found.is_live:
        return _live(s, outcome.seen(status, found, s.clock_offset), found)
    return _created(s, status, found)


def _end(s: Situation) -> outcome.End:
    return outcome.End(now=s.now, server_retries=s.limits.server_retries, clock_offset=s.clock_offset)


def _no_container(s: Situation, status: JobStatus, attempt: Attempt) -> Plan:
    intent = status.status.intent
    if attempt.container_id is not None or attempt.started_at is not None:
        words = "its container was removed behind our back: how it ended cannot be known"
        if intent is not None and intent.signaled_at is not None:
            return Plan(status=outcome.concluded(status, intent, _end(s)))
        return Plan(status=outcome.failed(status, Reason.CONTAINER_LOST, words, _end(s)))
    if s.is_rebuilt:
        words = "its status was lost while it was being started: whether it ran cannot be known; raise rerun to run it"
        return Plan(status=outcome.failed(status, Reason.PREVIOUS_RUN_UNKNOWN, words, _end(s)))
    if intent is None and (due_end(s, status) is not None or s.is_held):
        return Plan(status=outcome.unopened(status))  # its file is gone, or wants another run: back to the queue
    if intent is not None:
        return Plan(status=outcome.canceled(status, intent, s.now))
    return Plan(status=status, action=Launch(attempt))


def _created(s: Situation, status: JobStatus, found: Container) -> Plan:
    intent = status.status.intent or end_wanted(s, status)
    if intent is None:
        return Plan(status=status, action=Start(found))
    return Plan(status=outcome.canceled(status, intent, s.now), action=Remove(found))


def _live(s: Situation, status: JobStatus, found: Container) -> Plan:
    intent = status.status.intent
    if intent is None:
        intent = end_wanted(s, status)
        if intent is None:
            return _running(s, outcome.beating(status, found, s.beat, s.now), found)
    is_first = intent.signaled_at is None
    signaled_at = intent.signaled_at or s.now
    intent = changed(intent, signaled_at=signaled_at)
    left = signaled_at + timedelta(seconds=status.status.grace_seconds) - s.now
    if is_first or left > timedelta(0):
        ask = Signal(found, found.stop_signal) if intent.delivered_at is None else None
        return Plan(status=outcome.stopping(status, intent), action=ask, recheck_after=left)
    return _killing(s, status, intent, found)


def _killing(s: Situation, status: JobStatus, intent: Intent, found: Container) -> Plan:
    intent = intent if intent.killed_at is not None else changed(intent, killed_at=s.now)
    status = outcome.stopping(status, intent)
    if intent.killed_at is None or s.now - intent.killed_at < s.limits.stop_timeout:
        return Plan(status=status, action=Signal(found, "SIGKILL"), recheck_after=KILL_RECHECK)
    words = "SIGKILL was sent, and its process is still there: look at the host; its place is given to others"
    status = _told(status, Phase.STOPPING, Reason.UNKILLABLE, words)
    return Plan(status=status, action=Signal(found, "SIGKILL"), recheck_after=UNKILLABLE_RECHECK)


def _running(s: Situation, status: JobStatus, found: Container) -> Plan:
    if found.state == "paused":
        status = _told(status, Phase.RUNNING, Reason.PAUSED, "somebody paused its container")
    amend = _amendment(s, status)
    due = due_end(s, status)
    return Plan(status=status, action=amend, recheck_after=PULSE_EVERY if due is None else min(due, PULSE_EVERY))


# -- what the files say --------------------------------------------------------------------------------------------


def _amendment(s: Situation, status: JobStatus) -> Amend | None:
    if not isinstance(s.wanted, Present) or is_other_run(s, status):
        return None
    is_same = s.wanted.source_hash == status.metadata.source_hash
    return None if is_same else Amend(s.wanted)


# -- waiting -------------------------------------------------------------------------------------------------------


def _queued(s: Situation, status: JobStatus) -> Plan | None:
    if status.status.phase.is_terminal:
        return None
    intent = status.status.intent
    if intent is not None:
        return Plan(status=outcome.canceled(status, intent, s.now))
    if isinstance(s.wanted, Present) and is_other_run(s, status):
        intent = Intent(reason=Reason.SUPERSEDED, by="specs", message="its file wants another run now", at=s.now)
        return Plan(status=outcome.canceled(status, intent, s.now))
    if isinstance(s.wanted, Absent) and not s.is_held:
        return _queued_without_file(s, status, s.wanted)
    amend = None if s.is_held else _amendment(s, status)
    if amend:
        return Plan(status=status, action=amend)
    given_up = outcome.not_again(status, s.limits.server_retries, s.now)
    return Plan(status=given_up) if given_up else _at_the_gate(s, status)


def _at_the_gate(s: Situation, status: JobStatus) -> Plan:
    own = own_blockers(s, status)
    if s.gate is None:
        return Plan(status=status, needs_gate=True, may_enter=not own)
    if s.gate.fails is not None and not own:
        return Plan(status=outcome.over(status, Phase.FAILED, s.gate.fails, s.gate.message, s.now))
    if s.gate.is_open and not own:
        opened = outcome.opened(status, s.now, s.boot_id)
        attempt = opened.attempt
        return Plan(status=opened, action=Launch(attempt) if attempt else None)
    return Plan(status=outcome.blocked(status, (*own, *s.gate.blockers)), recheck_after=until_retry(s, status))


def _queued_without_file(s: Situation, status: JobStatus, wanted: Absent) -> Plan:
    left = wanted.since + s.limits.settle - s.now
    if left > timedelta(0):
        words = "its file is gone from specs/: canceled unless it is back in a moment"
        return Plan(status=_told(status, Phase.QUEUED, Reason.SPEC_DELETED, words), recheck_after=left)
    intent = Intent(reason=Reason.SPEC_DELETED, by="specs", message="its file is gone from specs/", at=s.now)
    return Plan(status=outcome.canceled(status, intent, s.now))


# -- ended ---------------------------------------------------------------------------------------------------------


def _ended(s: Situation, status: JobStatus) -> Plan | None:
    action: Delete | Accept | Restore | Expire | None = _after_the_end(s, status)
    left = endings.expires_in(s, status)
    if action is None and left is not None and left <= timedelta(0):
        action = Expire()
    may_be_there = isinstance(s.container, Unreachable) and bool(status.status.attempts)
    if action is not None and may_be_there:
        return Plan(status=status, recheck_after=UNREACHABLE_RECHECK)  # its container
    return Plan(status=status, action=action, recheck_after=left if action is None else None)


def _after_the_end(s: Situation, status: JobStatus) -> Delete | Accept | Restore | None:
    intent = status.status.intent
    if intent is not None and intent.then_delete and not status.status.hidden:
        return Delete()
    if not isinstance(s.wanted, Present):
        return None
    if not is_other_run(s, status):
        was_cut_short = status.status.reason in (Reason.SUPERSEDED, Reason.SPEC_DELETED) and not status.status.hidden
        return Accept(s.wanted) if was_cut_short else None
    return _earlier(s.wanted, status) or Accept(s.wanted)


def _earlier(wanted: Present, status: JobStatus) -> Restore | None:
    """An earlier generation of that digest that ended by itself or by a person is shown again, not run again."""
    is_rerun = status.status.reruns != outcome.present(status).reruns
    ran = [g for g in status.status.generations if g.digest == wanted.digest and g.phase is not None]
    if is_rerun or not ran or ran[-1].reason in (Reason.SUPERSEDED, Reason.SPEC_DELETED):
        return None
    return Restore(ran[-1], wanted)


def _told(status: JobStatus, phase: Phase, reason: str, message: str) -> JobStatus:
    told: JobStatus = changed(status, status=changed(status.status, phase=phase, reason=reason, message=message))
    return told
