"""What is observed of a job: the shape of `status/<job_id>.json`, and the words used in it."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from opeva_specs.model import API_VERSION, KIND
from opeva_specs.terms import Blocker, Demand, Instant, Progress, Terms
from opeva_specs.terms import Observed as _Observed
from opeva_specs.terms import rfc3339 as rfc3339


class Phase(StrEnum):
    """Where a generation stands, for people; code reads conditions and attempts."""

    QUEUED = "Queued"
    STARTING = "Starting"
    RUNNING = "Running"
    STOPPING = "Stopping"
    FINISHED = "Finished"
    FAILED = "Failed"
    STOPPED = "Stopped"
    CANCELED = "Canceled"

    @property
    def is_terminal(self) -> bool:
        """Whether the generation has ended; an ended one never changes."""
        return self in _TERMINAL

    @property
    def word(self) -> str:
        """The word REST clients know for it."""
        return _WORDS[self]


_TERMINAL = frozenset({Phase.FINISHED, Phase.FAILED, Phase.STOPPED, Phase.CANCELED})
_WORDS = {
    Phase.QUEUED: "queued",
    Phase.STARTING: "launching",
    Phase.RUNNING: "running",
    Phase.STOPPING: "stop_requested",
    Phase.FINISHED: "finished",
    Phase.FAILED: "failed",
    Phase.STOPPED: "stopped",
    Phase.CANCELED: "canceled",
}


class Reason(StrEnum):
    """Why a job is as it is; each completes "The job is …"."""

    # how it ended
    COMPLETED = "Completed"
    EXIT_NON_ZERO = "ExitNonZero"
    OUT_OF_MEMORY = "OutOfMemory"
    STOPPED_BY_USER = "StoppedByUser"
    SUPERSEDED = "Superseded"
    SPEC_DELETED = "SpecDeleted"
    SPEC_INVALID = "SpecInvalid"
    POLICY_DENIED = "PolicyDenied"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    BAD_COMMAND = "BadCommand"
    BAD_MOUNT = "BadMount"
    START_FAILED = "StartFailed"
    NAME_CONFLICT = "NameConflict"
    CONTAINER_LOST = "ContainerLost"
    ENGINE_RESTART = "EngineRestart"
    HOST_REBOOT = "HostReboot"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    STALLED = "Stalled"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    PREVIOUS_RUN_UNKNOWN = "PreviousRunUnknown"
    # what it waits for
    SUSPENDED = "Suspended"
    BACK_OFF = "BackOff"
    CONFIG_MISSING = "ConfigMissing"
    DATASET_MISSING = "DatasetMissing"
    HOST_UNKNOWN = "HostUnknown"
    HOST_UNUSABLE = "HostUnusable"
    TOO_LARGE = "TooLarge"
    NETWORK_MISSING = "NetworkMissing"
    DISK_PRESSURE = "DiskPressure"
    AT_CAPACITY = "AtCapacity"
    CPU = "CpuShort"
    MEMORY = "MemoryShort"
    GPU = "GpuShort"
    USER_CAP = "UserCap"
    AHEAD = "Ahead"
    RESERVED = "Reserved"
    PULLING = "Pulling"
    ENGINE_UNREACHABLE = "EngineUnreachable"
    # what it does
    ACCEPTED = "Accepted"
    STARTING = "Starting"
    RUNNING = "Running"
    PAUSED = "Paused"
    UNKILLABLE = "Unkillable"
    HELD = "Held"


class Condition(_Observed):
    """One fact, with since when it holds; `status` is True, False or Unknown."""

    type: str
    status: str
    reason: str
    message: str = ""
    last_transition_time: Instant


class Attempt(_Observed):
    """One try to run a generation; times of start and end are the engine's."""

    generation: int
    attempt: int
    container_id: str | None = None
    host: str = "local"
    image: str | None = None
    image_digest: str | None = None
    queued_at: Instant
    created_at: Instant | None = None
    started_at: Instant | None = None
    finished_at: Instant | None = None
    exit_code: int | None = None
    oom_killed: bool | None = None
    engine_state: str | None = None
    boot_id: str | None = None
    clock_offset: float | None = None  # seconds that the engine's clock was before ours when the run was first seen
    progress: Progress | None = None
    evidence: tuple[str, ...] = ()
    reason: str | None = None
    message: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether its end is not recorded yet."""
        return self.reason is None


class Generation(_Observed):
    """One accepted digest of a name, and how it ended (None while it has not)."""

    generation: int
    digest: str
    accepted_at: Instant
    reruns: int = 0
    phase: Phase | None = None
    reason: str | None = None
    message: str | None = None


class Intent(_Observed):
    """An end that was decided, recorded before it is acted on."""

    reason: str
    by: str
    message: str = ""
    at: Instant
    signaled_at: Instant | None = None
    delivered_at: Instant | None = None  # when the engine had taken the first signal
    killed_at: Instant | None = None
    then_delete: bool = False


class Meta(_Observed):
    """Which run of which file this is; `source` is relative to `specs/`."""

    name: str
    generation: int
    digest: str
    source: str
    source_hash: str = ""
    source_documents: int = 1
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class Observed(_Observed):
    """What became of the job; times are the operator's unless an attempt says them."""

    phase: Phase
    reason: str
    message: str = ""
    conditions: tuple[Condition, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    generations: tuple[Generation, ...] = ()
    queued_at: Instant
    finished_at: Instant | None = None
    host: str = "local"
    grace_seconds: int = 30
    terms: Terms = Terms()
    demand: Demand | None = None
    blockers: tuple[Blocker, ...] = ()
    retry_at: Instant | None = None
    config_digest: str | None = None
    reruns: int = 0
    intent: Intent | None = None
    last_wish: str | None = None
    hidden: bool = False
    imported: bool = False
    job_info: dict[str, Any] = Field(default_factory=dict)


class JobStatus(_Observed):
    """The whole of `status/<job_id>.json`, shaped like a Kubernetes object."""

    api_version: str = API_VERSION
    kind: str = KIND
    metadata: Meta
    status: Observed

    @property
    def attempt(self) -> Attempt | None:
        """The newest attempt of the present generation, if it has any."""
        mine = [a for a in self.status.attempts if a.generation == self.metadata.generation]
        return mine[-1] if mine else None

    def to_json(self) -> bytes:
        """The bytes of the file."""
        return self.model_dump_json(by_alias=True, exclude_none=True, indent=1).encode() + b"\n"


class Wish(_Observed):
    """What a person asks for once: the shape of `control/<job_id>.json`."""

    id: str
    wish: str
    digest: str | None = None
    by: str = "unknown"
    reason: str = ""
    at: Instant


def condition(kind: str, is_true: bool | None, reason: str, message: str, now: datetime) -> Condition:
    """A condition that holds since `now`; None means unknown."""
    word = {True: "True", False: "False", None: "Unknown"}[is_true]
    return Condition(type=kind, status=word, reason=reason, message=message, last_transition_time=now)


def with_conditions(found: tuple[Condition, ...], *new: Condition) -> tuple[Condition, ...]:
    """The conditions with `new` put in; a condition whose status did not change keeps its time."""
    merged: dict[str, Condition] = {c.type: c for c in found}
    for item in new:
        old = merged.get(item.type)
        if old is not None and old.status == item.status:
            item = item.model_copy(update={"last_transition_time": old.last_transition_time})
        merged[item.type] = item
    return tuple(merged.values())


def condition_of(status: JobStatus, kind: str) -> Condition | None:
    """The condition of that type, if the status has one."""
    return next((c for c in status.status.conditions if c.type == kind), None)


def changed(model: Any, **updates: Any) -> Any:
    """A copy with some fields replaced."""
    return model.model_copy(update=updates)
