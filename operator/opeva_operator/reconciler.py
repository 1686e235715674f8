"""Reconciler: read, plan, act, tell. The only place that joins the parts."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from opeva_operator import on, planner
from opeva_operator.actions import Actions, LookAgain
from opeva_operator.engine import Container, EngineError, EngineUnreachable
from opeva_operator.gate import Gatekeeper
from opeva_operator.hosts import ANSWERS_EVERY, Found, Host, Hosts
from opeva_operator.launch import container_name
from opeva_operator.pulse import Pulses
from opeva_operator.roster import Roster
from opeva_operator.situation import (
    Accept,
    Action,
    Adopt,
    Beat,
    Conclude,
    Limits,
    Plan,
    Remove,
    Signal,
    Situation,
    Start,
    Unreachable,
)
from opeva_operator.specwatch import SpecWatch
from opeva_operator.workqueue import WorkQueue
from opeva_specs.settings import Settings
from opeva_specs.status import JobStatus, Wish
from opeva_specs.store import ControlStore, Damaged, EventLog, StatusStore
from opeva_specs.wanted import Absent, Present

logger = logging.getLogger(__name__)

MOST_STEPS = 30
NOTHING_CHANGED = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a reconciler is made of."""

    settings: Settings
    instance: str
    hosts: Hosts
    specs: SpecWatch
    statuses: StatusStore
    controls: ControlStore
    events: EventLog
    roster: Roster
    queue: WorkQueue
    gatekeeper: Gatekeeper
    actions: Actions
    pulses: Pulses
    clock: Callable[[], datetime]


class Reconciler:
    """Makes one job true at a time; any number of workers may call it, each with another name."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._limits = limits_of(parts.settings)
        self._met: set[str] = set()

    # -- what may have changed -----------------------------------------------------------------------------------

    def handle(self, name: str) -> None:
        """Look at a job through its handlers: kopf's causes, derived from what is there now."""
        status = self._read_status(name)
        wanted = self._parts.specs.wanted(name, status.metadata.source if status else None, self._parts.clock())
        cause = self._cause(name, status, wanted)
        if cause is None:
            self.reconcile(name)
            return
        job = self._parts.specs.job(name, wanted) if isinstance(wanted, Present) else None
        try:
            on.call(
                cause, name=name, spec=job.spec if job else None, meta=job.metadata if job else None, status=status,
                retry=self._parts.queue.failures(name), logger=logger, reconcile=self.reconcile,
            )  # fmt: skip
        except on.TemporaryError as error:
            logger.info("job %s: again in %.0f s: %s", name, error.delay, error)
            self._parts.queue.add(name, error.delay)
        except on.PermanentError as error:
            logger.error("job %s: left alone until something changes: %s", name, error)

    def _cause(self, name: str, status: JobStatus | None, wanted: object) -> str | None:
        if status is None and not isinstance(wanted, Present):
            return None  # nor is a name noted of which nothing is left
        is_new_here = name not in self._met
        self._met.add(name)
        if status is None:
            return "create"
        if isinstance(wanted, Present) and wanted.digest != status.metadata.digest:
            return "update"
        if isinstance(wanted, Absent) and not status.status.phase.is_terminal:
            return "delete"
        return "resume" if is_new_here else None

    # -- one job -------------------------------------------------------------------------------------------------

    def reconcile(self, name: str) -> None:
        """Bring one job as far as it can be brought now; idempotent."""
        status, is_rebuilt = self._load(name)
        container = self._find(name, status)
        if is_rebuilt and isinstance(container, Unreachable):  # how far it came, nobody can tell before the engine
            self._parts.queue.add(name, ANSWERS_EVERY.total_seconds())
            return
        done: Action | None = None
        for _ in range(MOST_STEPS):
            situation = self._situation(name, status, container, is_rebuilt)
            plan = planner.plan(situation)
            if plan.needs_gate and plan.status is not None:
                is_there = not isinstance(container, Unreachable)
                gate, status = self._parts.gatekeeper.ask(
                    name, plan.status, may_enter=plan.may_enter, is_reachable=is_there
                )
                plan = planner.plan(replace(situation, status=status, gate=gate))
            self._tell(name, None if is_rebuilt else situation.status, plan.status)
            status = plan.status
            if plan.action is None and _has_just_ended(situation.status, status):
                continue
            if plan.action is None:
                self._rest(name, plan, container)
                return
            try:
                status, container = self._act(name, plan, container, done)
            except LookAgain as later:
                self._parts.queue.add(name, later.after)
                return
            done = plan.action
            if isinstance(done, Accept) and self._moves(status):
                self._parts.queue.add(name)  # another host's workers go on with it
                return
        raise RuntimeError(f"cannot settle job {name!r} in {MOST_STEPS} steps")

    def _moves(self, status: JobStatus | None) -> bool:
        return self._parts.hosts.of(status) is not self._parts.hosts.local

    def _attend(self, name: str, status: JobStatus | None, container: Found) -> None:
        """What a running container gets beside: its log written along, its image's digest noted."""
        if status is None or not isinstance(container, Container) or not container.is_live or not container.is_ours:
            return
        self._parts.actions.follow(name, container)
        try:
            self._tell(name, status, self._parts.actions.with_digest(status, container))
        except EngineUnreachable as error:
            self._parts.hosts.of_container(container).lost(error)

    def _rest(self, name: str, plan: Plan, container: Found) -> None:
        """There is nothing more to do now."""
        if plan.status is None and self._parts.roster.get(name) is not None:
            self.forget(name)  # somebody removed every trace of it
        self._attend(name, plan.status, container)
        if plan.recheck_after is not None:
            self._parts.queue.add(name, max(0.01, plan.recheck_after.total_seconds()))

    def _situation(self, name: str, status: JobStatus | None, container: Found, is_rebuilt: bool) -> Situation:
        parts, now = self._parts, self._parts.clock()
        host = parts.hosts.of(status)
        wanted, is_held = parts.specs.look_up(name, status.metadata.source if status else None, now)
        return Situation(
            name=name,
            now=now,
            wanted=wanted,
            status=status,
            container=container,
            wish=self._wish(name),
            beat=self._beat(name, status, container),
            limits=self._limits,
            clock_offset=host.facts.clock_offset if host else timedelta(0),
            boot_id=host.boot_id() if host else None,
            is_held=is_held,
            is_rebuilt=is_rebuilt,
        )

    def _beat(self, name: str, status: JobStatus | None, container: Found) -> Beat | None:
        """The signs of life of a job that was started; None of others."""
        is_live = isinstance(container, Container) and container.is_live
        if status is None or not (is_live or isinstance(container, Unreachable)) or status.status.phase.is_terminal:
            return None
        return self._parts.pulses.look(name, status, is_live)

    def _act(self, name: str, plan: Plan, container: Found, done: Action | None) -> tuple[JobStatus | None, Found]:
        assert plan.action is not None
        if plan.action == done:  # it changed nothing, and would change nothing now
            raise LookAgain((plan.recheck_after or NOTHING_CHANGED).total_seconds())
        before = plan.status
        try:
            status = self._parts.actions.do(name, plan.action, before)
            self._tell(name, before, status)
            if self._parts.actions.touches_engine(plan.action):
                return status, self._find(name, status, surely=True)
            has_moved = self._parts.hosts.of(status) is not self._parts.hosts.of(before)
            return status, self._find(name, status) if has_moved else container
        except EngineUnreachable as error:
            host = self._asked(plan.action, before)
            return before, host.lost(error) if host is not None else Unreachable(str(error))
        except EngineError as error:
            logger.warning("job %s: %s", name, error)
            raise

    def _asked(self, action: Action, status: JobStatus | None) -> Host | None:
        """Whose engine an action needs."""
        if isinstance(action, Adopt | Conclude | Remove | Signal | Start):
            return self._parts.hosts.of_container(action.container)
        return self._parts.hosts.of(status)

    # -- reading -------------------------------------------------------------------------------------------------

    def _read_status(self, name: str) -> JobStatus | None:
        try:
            return self._parts.statuses.read(name)
        except Damaged as error:
            logger.error("job %s: %s; rebuilding it from its events", name, error)
            self._parts.statuses.set_aside(name)
            return None

    def _load(self, name: str) -> tuple[JobStatus | None, bool]:
        status = self._read_status(name)
        if status is not None:
            return status, False
        rebuilt = self._parts.events.last_status(name)
        if rebuilt is None:
            rejected = self._parts.specs.rejected_status(name, self._parts.clock())
            if rejected is not None:
                self._tell(name, None, rejected)
            return rejected, False
        logger.warning("job %s: its status was lost; rebuilt from its events", name)
        if self._parts.roster.get(name) is None:  # it needs a place in the queue; putting it anew would wake it anew
            self._parts.roster.put(name, rebuilt)
        return rebuilt, True

    def _wish(self, name: str) -> Wish | None:
        try:
            return self._parts.controls.read(name)
        except Damaged as error:
            logger.error("job %s: %s; dropped", name, error)
            self._parts.controls.remove(name)
            return None

    def _find(self, name: str, status: JobStatus | None, *, surely: bool = False) -> Found:
        return self._parts.hosts.find(name, status, container_name(self._parts.instance, name), surely=surely)

    # -- telling -------------------------------------------------------------------------------------------------

    def _tell(self, name: str, before: JobStatus | None, after: JobStatus | None) -> None:
        if after is None or after == before:
            if after is not None:
                self._parts.roster.settle(name, after)
            return
        is_end = _is_end(before, after)
        self._log(name, before, after, is_end)
        # A wish was durable when it was accepted: it stays so when the status takes it over from its file.
        has_wish = after.status.last_wish != (before.status.last_wish if before else None)
        self._parts.statuses.write(after, durable=is_end or has_wish)
        self._parts.roster.put(name, after)

    def _log(self, name: str, before: JobStatus | None, after: JobStatus, is_end: bool) -> None:
        if before is not None and _milestone(before) == _milestone(after):
            return
        logger.info("job %s: %s, %s %s", name, after.status.phase, after.status.reason, after.status.message)
        self._parts.events.append(
            name, self._parts.clock(), after.status.reason, after.status.message, status=after, durable=is_end
        )

    def forget(self, name: str) -> None:
        """The job was deleted: nothing of it is known any more."""
        self._met.discard(name)
        self._parts.pulses.forget(name)
        self._parts.roster.put(name, None)


def limits_of(settings: Settings) -> Limits:
    """What the settings grant, as the planner wants it."""
    return Limits(
        settle=timedelta(seconds=settings.settle_seconds),
        delete_grace=timedelta(seconds=settings.delete_grace_seconds),
        stop_timeout=timedelta(seconds=settings.stop_timeout_seconds),
        server_retries=settings.server_retries,
    )


def _is_end(before: JobStatus | None, after: JobStatus) -> bool:
    """Whether a generation or an attempt ended with it: nothing of that may get lost with a power cut."""
    if after.status.phase.is_terminal:
        return (
            before is None
            or not before.status.phase.is_terminal
            or before.metadata.generation != after.metadata.generation
        )
    return before is not None and _closed(after) != _closed(before)


def _closed(status: JobStatus) -> int:
    return sum(not attempt.is_open for attempt in status.status.attempts)


def _has_just_ended(before: JobStatus | None, after: JobStatus | None) -> bool:
    """Whether a phase or an attempt has: what comes after it may be due already."""
    if before is None or after is None:
        return False
    return after.status.phase is not before.status.phase or _closed(after) != _closed(before)


def _milestone(status: JobStatus) -> tuple[object, ...]:
    """What of a status must not get lost with its file."""
    observed = status.status
    return observed.phase, observed.reason, status.metadata.generation, observed.hidden, _closed(status)
