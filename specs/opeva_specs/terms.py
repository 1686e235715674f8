"""Values inside a status: what of a spec may change while it lives, why a job waits, how far it is."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

from opeva_specs.model import JobSpec, cpu_to_nano, memory_to_bytes


def rfc3339(instant: datetime) -> str:
    """UTC with microseconds, such as `2026-01-31T12:00:00.000000Z`."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


Instant = Annotated[datetime, PlainSerializer(rfc3339, return_type=str)]


class Observed(BaseModel):
    """Keeps fields it does not know: a newer operator may have written them."""

    model_config = ConfigDict(frozen=True, extra="allow", alias_generator=to_camel, validate_by_name=True)


@dataclass(frozen=True, slots=True)
class Demand:
    """What a job takes of a host: billionths of a core, bytes, GPUs."""

    cpu: int = 0
    memory: int = 0
    gpu: int = 0


def demand_of(spec: JobSpec, default: Demand) -> Demand:
    """What the job takes; where its spec names nothing, what such jobs count for."""
    limits = spec.resources
    return Demand(
        cpu=cpu_to_nano(limits.cpu) if limits.cpu else default.cpu,
        memory=memory_to_bytes(limits.memory) if limits.memory else default.memory,
        gpu=limits.gpu or 0,
    )


class Terms(Observed):
    """What of a spec is no part of the run: an edit of it is applied in place, and lasts until the next one."""

    priority: int = 0
    suspend: bool = False
    suspended_at: Instant | None = None  # since when the file says so
    active_deadline_seconds: int | None = None
    stall_seconds: int | None = None
    backoff_limit: int = 0
    retry_on: tuple[int, ...] | None = None
    fail_on: tuple[int, ...] = ()
    ttl_seconds_after_finished: int | None = None
    ttl_seconds_after_failed: int | None = None
    keep: bool = False


def terms_of(spec: JobSpec, before: Terms | None, now: datetime) -> Terms:
    """The terms that a spec writes; a suspension that goes on keeps its beginning."""
    since = (before.suspended_at if before else None) or now
    return Terms(
        priority=spec.priority,
        suspend=spec.suspend,
        suspended_at=since if spec.suspend else None,
        active_deadline_seconds=spec.active_deadline_seconds,
        stall_seconds=spec.stall_seconds,
        backoff_limit=spec.backoff_limit,
        retry_on=tuple(spec.retry_on) if spec.retry_on is not None else None,
        fail_on=tuple(spec.fail_on or ()),
        ttl_seconds_after_finished=spec.ttl_seconds_after_finished,
        ttl_seconds_after_failed=spec.ttl_seconds_after_failed,
        keep=spec.keep,
    )


class Blocker(Observed):
    """One thing that keeps a job from starting: its kind, one sentence, what would end it, and figures for programs."""

    kind: str
    message: str
    unblocks: str = ""
    details: dict[str, Any] = Field(default_factory=dict)


class Progress(Observed):
    """How far an attempt is: 0 to 100, never falling, 100 of finished ones only; no guess where there is no ground."""

    percent: float = 0.0
    updated_at: Instant | None = None
    eta_seconds: float | None = None
    estimated_finish_at: Instant | None = None
