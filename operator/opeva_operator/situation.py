"""What the planner looks at, and what it may ask for: values only."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from opeva_operator.engine import Container
from opeva_specs.status import Attempt, Generation, JobStatus, Wish
from opeva_specs.terms import Blocker, Progress
from opeva_specs.wanted import Present, Wanted


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The engine did not answer: nobody knows whether there is a container."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Whether a queued job may start now; if not, everything that is in the way."""

    is_open: bool
    blockers: tuple[Blocker, ...] = ()
    fails: str | None = None  # the reason why it will never open: the generation ends
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """The signs of life that a running job gives; `silent_for` counts only what may be held against it."""

    progress: Progress | None = None
    silent_for: timedelta = timedelta(0)
    is_stalled: bool = False
    words: str = ""
    last_sign: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the settings grant."""

    settle: timedelta = timedelta(seconds=5)
    delete_grace: timedelta = timedelta(seconds=10)
    stop_timeout: timedelta = timedelta(seconds=60)
    server_retries: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that is known of one job at one moment."""

    name: str
    now: datetime
    wanted: Wanted
    status: JobStatus | None
    container: Container | Unreachable | None
    gate: Gate | None = None  # None: not asked yet; asking takes a place
    wish: Wish | None = None
    limits: Limits = Limits()
    clock_offset: timedelta = timedelta(0)  # the engine's clock minus ours
    boot_id: str | None = None  # of the host, where it can be known
    beat: Beat | None = None  # of a live container
    is_held: bool = False
    is_rebuilt: bool = False


# Actions: what the shell must do; each names its job by being in that job's plan.
@dataclass(frozen=True, slots=True)
class Accept:
    """Make a new generation of what the file wants now."""

    wanted: Present


@dataclass(frozen=True, slots=True)
class Amend:
    """Take over from the file what is not part of the run (labels, grace, …)."""

    wanted: Present


@dataclass(frozen=True, slots=True)
class Adopt:
    """A container of ours that no status tells of: make one from its labels."""

    container: Container


@dataclass(frozen=True, slots=True)
class Launch:
    """Create the container of the open attempt, and start it."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Start:
    """Start a container that was created, but never started."""

    container: Container


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to a container."""

    container: Container
    signal: str


@dataclass(frozen=True, slots=True)
class Conclude:
    """A container has ended: save its log, then record its outcome."""

    container: Container


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a container whose outcome is durable."""

    container: Container


@dataclass(frozen=True, slots=True)
class Restore:
    """Show an earlier generation again, with its files, on the terms that the file has now."""

    generation: Generation
    wanted: Present


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove everything of the job that is ours to remove."""


@dataclass(frozen=True, slots=True)
class Expire:
    """Remove the files of a job whose time is over; its record stays while a file wants it."""


@dataclass(frozen=True, slots=True)
class DropWish:
    """Take the wish away; `told` says why it had no effect (empty: it had)."""

    wish: Wish
    told: str = ""


Action = Accept | Amend | Adopt | Launch | Start | Signal | Conclude | Remove | Restore | Delete | Expire | DropWish


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The status to tell, the one thing to do, and when to look again at the latest."""

    status: JobStatus | None
    action: Action | None = None
    recheck_after: timedelta | None = None
    needs_gate: bool = False
    may_enter: bool = True  # False: the gate is only asked what else is in the way
