"""Whatever the situation: what the planner may never ask for."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from tests.unit.situations import NOW, ago, attempt

from opeva_operator.engine import Container
from opeva_operator.planner import plan
from opeva_operator.retries import SERVERS, USERS
from opeva_operator.situation import (
    Accept,
    Adopt,
    Amend,
    Beat,
    Conclude,
    Delete,
    DropWish,
    Expire,
    Gate,
    Launch,
    Plan,
    Remove,
    Restore,
    Signal,
    Situation,
    Start,
    Unreachable,
)
from opeva_specs.specfiles import Absent, Present, Unsure
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
from opeva_specs.terms import Blocker, Terms

DIGESTS = ("d1", "d2", "d3")
DECIDED = (
    Reason.STOPPED_BY_USER, Reason.SUPERSEDED, Reason.SPEC_DELETED, Reason.SUSPENDED, Reason.DEADLINE_EXCEEDED,
    Reason.STALLED,
)  # fmt: skip
LIVE = (Phase.STARTING, Phase.RUNNING, Phase.STOPPING)
ENDS = (
    (Phase.FINISHED, Reason.COMPLETED),
    (Phase.FAILED, Reason.EXIT_NON_ZERO),
    (Phase.STOPPED, Reason.STOPPED_BY_USER),
    (Phase.STOPPED, Reason.SUPERSEDED),
    (Phase.STOPPED, Reason.SPEC_DELETED),
    (Phase.CANCELED, Reason.SUPERSEDED),
)
FAILURES = (Reason.EXIT_NON_ZERO, Reason.ENGINE_RESTART, Reason.SUSPENDED)
STAGES = ((Phase.QUEUED, "Accepted"), *((phase, str(phase)) for phase in LIVE), (Phase.RUNNING, "Running"))
seconds = st.sampled_from((0, 1, 4, 5, 14, 15, 29, 30, 59, 60, 900))
instants = seconds.map(ago)
rarely = st.sampled_from((False, False, False, False, True))


@st.composite
def intents(draw: st.DrawFn) -> Intent:
    signaled_at = draw(st.none() | instants)
    reason = draw(st.sampled_from(DECIDED))
    killed_at = draw(st.none() | instants) if signaled_at is not None else None
    delivered_at = draw(st.none() | instants) if signaled_at is not None else None
    is_deletion = reason == Reason.STOPPED_BY_USER and draw(st.booleans())
    return Intent(
        reason=reason, by="x", at=draw(instants), signaled_at=signaled_at, delivered_at=delivered_at,
        killed_at=killed_at, then_delete=is_deletion,
    )  # fmt: skip


terms = st.builds(
    Terms,
    suspend=rarely,
    suspended_at=instants,
    active_deadline_seconds=st.sampled_from((None, None, 60, 9999)),
    stall_seconds=st.sampled_from((None, None, 60, 9999)),
    backoff_limit=st.sampled_from((0, 0, 1, 5)),
    fail_on=st.sampled_from(((), (1,))),
    ttl_seconds_after_finished=st.sampled_from((None, None, 0, 9999)),
    ttl_seconds_after_failed=st.sampled_from((None, None, 0, 9999)),
    keep=rarely,
)
beats = st.builds(Beat, silent_for=seconds.map(lambda n: timedelta(seconds=n)), is_stalled=st.booleans())


@st.composite
def statuses(draw: st.DrawFn) -> JobStatus:
    """Any status that the operator could have written: earlier generations have ended, the last one may not have."""
    count = draw(st.integers(1, 3))
    generations, attempts = [], []
    for number in range(1, count):
        phase, reason = draw(st.sampled_from(ENDS))
        digest = draw(st.sampled_from(DIGESTS))
        generations.append(
            Generation(generation=number, digest=digest, accepted_at=ago(900), phase=phase, reason=reason)
        )
        if phase is not Phase.CANCELED:
            attempts.append(attempt(generation=number, reason=reason, started_at=ago(800)))
    phase, reason = draw(st.sampled_from(ENDS) | st.sampled_from(STAGES))
    record = Generation(generation=count, digest=draw(st.sampled_from(DIGESTS)), accepted_at=ago(800))
    intent = draw(st.none() | intents())
    if phase.is_terminal:
        record = record.model_copy(update={"phase": phase, "reason": reason})
        if phase is not Phase.CANCELED:
            attempts.append(attempt(generation=count, reason=reason, started_at=ago(700), container_id="c"))
    elif draw(st.booleans()):  # tried before, in the same generation
        attempts.append(attempt(generation=count, reason=draw(st.sampled_from(FAILURES)), started_at=ago(750)))
    if phase in LIVE:
        started = draw(st.none() | instants) if phase is Phase.STARTING else ago(700)
        number = 1 + sum(a.generation == count for a in attempts)
        attempts.append(attempt(number, generation=count, started_at=started, container_id="c" if started else None))
    if phase is Phase.STOPPING and intent is None:
        intent = draw(intents())
    observed = Observed(
        phase=phase, reason=reason, generations=(*generations, record), attempts=tuple(attempts), queued_at=ago(800),
        conditions=(condition("Complete", False, reason, "", ago(1)),) if phase.is_terminal else (),
        intent=intent, reruns=draw(st.integers(0, 1)), hidden=draw(rarely),
        imported=draw(rarely),
        last_wish=draw(st.sampled_from((None, "w1"))), grace_seconds=draw(st.sampled_from((0, 30))), terms=draw(terms),
        retry_at=draw(st.sampled_from((None, ago(1), ago(-5)))) if phase is Phase.QUEUED else None,
    )  # fmt: skip
    meta = Meta(name="a", generation=count, digest=record.digest, source="a.yaml", source_hash="h1")
    return JobStatus(metadata=meta, status=observed)


@st.composite
def containers(draw: st.DrawFn, told: JobStatus | None) -> Container:
    """A container, most often that of the newest attempt."""
    newest = told.status.attempts[-1] if told is not None and told.status.attempts else None
    numbers = (newest.generation, newest.attempt) if newest is not None else (1, 1)
    others = st.tuples(st.integers(1, 4), st.integers(1, 2))
    generation, number = draw(others) if draw(rarely) else numbers
    state = draw(
        st.sampled_from(("created", "created", "running", "running", "running", "paused", "exited", "exited", "dead"))
    )
    has_started = state != "created" and (state in ("running", "paused") or draw(st.booleans()))
    return Container(
        id="c", name="opeva-v-a", job="a", generation=generation, attempt=number, digest="d1", state=state,
        is_ours=not draw(rarely), started_at=ago(700) if has_started else None,
        finished_at=ago(1) if state == "exited" else None, exit_code=draw(st.sampled_from((0, 1, 137))),
    )  # fmt: skip


presents = st.builds(
    Present, digest=st.sampled_from(DIGESTS), source=st.sampled_from(("a.yaml", "b.yaml")),
    source_hash=st.sampled_from(("h1", "h2")), documents=st.just(1), since=instants,
)  # fmt: skip
gates = st.sampled_from(
    (
        Gate(is_open=True),
        Gate(is_open=False, blockers=(Blocker(kind=Reason.AT_CAPACITY, message="waits"),)),
        Gate(is_open=False, fails=Reason.IMAGE_PULL_FAILED, message="no"),
    )
)
wishes = st.builds(
    Wish, id=st.sampled_from(("w1", "w2")), wish=st.sampled_from(("stop", "rerun", "delete", "dance")),
    digest=st.sampled_from((None, *DIGESTS)), at=instants,
)  # fmt: skip


@st.composite
def situations_with(draw: st.DrawFn, statuses_or_none: st.SearchStrategy[JobStatus | None]) -> Situation:
    """Situations of jobs with such statuses; the parts fit each other more often than not."""
    told = draw(statuses_or_none)
    return Situation(
        name="a",
        now=NOW,
        status=told,
        container=draw(st.none() | st.just(Unreachable("no answer")) if draw(rarely) else containers(told) | st.none()),
        wanted=draw(presents | st.builds(Absent, since=instants) | st.just(Unsure(message="unsure"))),
        gate=draw(st.none() | gates),
        wish=draw(wishes) if draw(rarely) else None,
        beat=draw(st.none() | beats),
        is_held=draw(rarely),
        is_rebuilt=draw(st.booleans()),
    )


situations = situations_with(st.none() | statuses())
known = situations_with(statuses())
often = settings(max_examples=400, deadline=None, derandomize=True)


def before_of(s: Situation) -> JobStatus:
    """The status before, of a situation that has one."""
    assert s.status is not None
    return s.status


def undecided(s: Situation) -> Situation:
    """The same without anybody's wish that the run should end."""
    before = before_of(s)
    phase = Phase.RUNNING if before.status.phase is Phase.STOPPING else before.status.phase
    facts = {"intent": None, "phase": phase, "terms": Terms()}
    return replace(s, wish=None, beat=None, status=changed(before, status=changed(before.status, **facts)))


def after_of(planned: Plan) -> JobStatus:
    """The status that the plan tells."""
    assert planned.status is not None
    return planned.status


@often
@given(situations)
def test_the_same_situation_gives_the_same_plan(s: Situation) -> None:
    assert plan(s) == plan(s)


@often
@given(situations)
def test_nothing_is_launched_beside_a_container_nor_without_the_engine(s: Situation) -> None:
    if isinstance(plan(s).action, Launch):
        assert s.container is None


@often
@given(situations)
def test_an_attempt_is_recorded_as_open_before_it_is_launched(s: Situation) -> None:
    planned = plan(s)
    if isinstance(planned.action, Launch):
        assert after_of(planned).attempt == planned.action.attempt
        assert planned.action.attempt.is_open


@often
@given(known)
def test_an_ended_generation_never_changes(s: Situation) -> None:
    before = before_of(s)
    after = after_of(plan(s))
    for was, now in zip(before.status.generations, after.status.generations, strict=True):
        assert was.generation == now.generation
        assert was.digest == now.digest
        if was.phase is not None:
            assert was == now
    assert after.metadata.generation == before.metadata.generation
    if before.status.phase.is_terminal:
        assert (after.status.phase, after.status.reason) == (before.status.phase, before.status.reason)


@often
@given(known)
def test_a_closed_attempt_never_changes(s: Situation) -> None:
    after = {(a.generation, a.attempt): a for a in after_of(plan(s)).status.attempts} if s.status else {}
    for was in before_of(s).status.attempts:
        if not was.is_open:
            assert after[was.generation, was.attempt] == was


@often
@given(situations)
def test_no_signal_without_a_recorded_end(s: Situation) -> None:
    planned = plan(s)
    if isinstance(planned.action, Signal):
        intent = after_of(planned).status.intent
        assert intent is not None
        assert intent.signaled_at is not None
        assert after_of(planned).status.phase is Phase.STOPPING
        assert planned.recheck_after is not None


@often
@given(known)
def test_no_kill_before_the_grace_is_over(s: Situation) -> None:
    planned = plan(s)
    if isinstance(planned.action, Signal) and planned.action.signal == "SIGKILL":
        before = before_of(s)
        assert before.status.intent is not None and before.status.intent.signaled_at is not None
        assert s.now - before.status.intent.signaled_at >= timedelta(seconds=before.status.grace_seconds)


@often
@given(situations)
def test_only_what_is_ours_and_recorded_as_ended_is_removed(s: Situation) -> None:
    planned = plan(s)
    if isinstance(planned.action, Remove):
        found = planned.action.container
        assert found.is_ours
        assert _record_of(found, after_of(planned)).reason is not None


@often
@given(known)
def test_a_container_is_touched_only_if_it_is_that_of_the_open_attempt(s: Situation) -> None:
    planned = plan(s)
    if isinstance(planned.action, Signal | Start | Conclude):
        found = planned.action.container
        assert found.is_ours
        assert _record_of(found, before_of(s)).is_open
        assert isinstance(planned.action, Conclude) == found.has_ended
        assert isinstance(planned.action, Start) <= (found.started_at is None)


def _ends(status: JobStatus) -> tuple[Phase, int]:
    return status.status.phase, sum(not a.is_open for a in status.status.attempts)


def _record_of(found: Container, status: JobStatus) -> Attempt:
    return next(a for a in status.status.attempts if (a.generation, a.attempt) == (found.generation, found.attempt))


@often
@given(known, st.sampled_from(("specs/ cannot be listed", "")))
def test_doubt_about_the_files_ends_nothing(s: Situation, message: str) -> None:
    planned = plan(replace(undecided(s), wanted=Unsure(message=message)))
    assert not isinstance(planned.action, Signal | Accept | Restore | Delete)
    if not before_of(s).status.phase.is_terminal:
        assert after_of(planned).status.reason not in (Reason.SUPERSEDED, Reason.SPEC_DELETED)
        assert after_of(planned).status.phase not in (Phase.CANCELED, Phase.STOPPING, Phase.STOPPED)


@often
@given(known)
def test_held_deletions_end_nothing(s: Situation) -> None:
    planned = plan(replace(undecided(s), wanted=Absent(since=ago(900)), is_held=True))
    assert not isinstance(planned.action, Signal)
    if not before_of(s).status.phase.is_terminal:
        assert after_of(planned).status.reason != Reason.SPEC_DELETED


@often
@given(situations)
def test_without_the_engine_no_container_is_touched_and_no_run_ends(s: Situation) -> None:
    away = replace(s, container=Unreachable("no answer"))
    planned = plan(away)
    assert not isinstance(planned.action, Launch | Start | Signal | Remove | Conclude | Delete | Restore)
    if s.status is None or s.status.status.phase.is_terminal:
        return
    if after_of(planned).status.phase.is_terminal:
        assert s.status.attempt is None or not s.status.attempt.is_open
        by_files = after_of(planned).status.reason in (Reason.SUPERSEDED, Reason.SPEC_DELETED)
        assert by_files or s.status.status.intent is not None


@often
@given(known)
def test_a_new_generation_begins_only_where_the_last_has_ended_and_left_no_container(s: Situation) -> None:
    planned = plan(s)
    if isinstance(planned.action, Accept | Restore) and s.status is not None:
        assert s.status.status.phase.is_terminal
        assert s.container is None or (isinstance(s.container, Container) and not s.container.is_ours)


@often
@given(known)
def test_a_second_look_tells_nothing_new(s: Situation) -> None:
    first = plan(s)
    has_ended = _ends(before_of(s)) != _ends(after_of(first))  # what comes after that may be due at once
    if first.action is None and not has_ended:
        again = plan(replace(s, status=first.status))
        assert (again.status, again.action) == (first.status, None)


@often
@given(known)
def test_an_attempt_of_a_rebuilt_status_is_never_launched_blindly(s: Situation) -> None:
    planned = plan(replace(s, is_rebuilt=True))
    if isinstance(planned.action, Launch):
        assert planned.action.attempt not in before_of(s).status.attempts


@often
@given(known)
def test_a_suspended_job_is_not_started_and_a_paused_retry_waits_its_time(s: Situation) -> None:
    told, planned = before_of(s).status, plan(s)
    if isinstance(planned.action, Launch) and planned.action.attempt not in told.attempts:
        assert not told.terms.suspend
        assert told.retry_at is None or told.retry_at <= s.now


@often
@given(known)
def test_no_more_attempts_than_the_budgets_allow(s: Situation) -> None:
    planned = plan(s)
    if planned.status is None or planned.status.status.reason != Reason.BACK_OFF or planned.status == s.status:
        return
    before, after = before_of(s), planned.status
    if before.status.phase is Phase.QUEUED:
        return
    failures = [a.reason for a in after.status.attempts if a.generation == after.metadata.generation]
    assert 0 < after.status.terms.backoff_limit
    assert sum(reason in USERS for reason in failures) <= after.status.terms.backoff_limit
    assert sum(reason in SERVERS for reason in failures) <= s.limits.server_retries


@often
@given(known)
def test_files_expire_only_after_their_time_and_never_when_kept(s: Situation) -> None:
    told, planned = before_of(s).status, plan(s)
    if isinstance(planned.action, Expire) and not told.hidden:
        assert told.phase.is_terminal
        assert not told.terms.keep
        assert 0 in (told.terms.ttl_seconds_after_finished, told.terms.ttl_seconds_after_failed)


@often
@given(known, gates)
def test_with_the_gate_asked_nobody_asks_again(s: Situation, gate: Gate) -> None:
    assert not plan(replace(s, gate=gate)).needs_gate


ACTIONS = (Accept, Adopt, Amend, Conclude, Delete, DropWish, Expire, Launch, Remove, Restore, Signal, Start)


@pytest.mark.parametrize("kind", ACTIONS)
def test_these_situations_ask_for_every_kind_of_action(kind: type) -> None:
    found = find(situations, lambda s: isinstance(plan(s).action, kind), settings=settings(max_examples=20_000))
    assert isinstance(plan(found).action, kind)
