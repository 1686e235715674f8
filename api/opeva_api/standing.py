"""Standing: what must be known of an active job to say whose turn it is, and what it waits for; small and frozen."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from sys import intern
from typing import Any

import orjson

from opeva_specs.admission import Claim
from opeva_specs.model import SimulationJob
from opeva_specs.status import Phase, Reason
from opeva_specs.terms import Demand, demand_of

LOCAL = "local"
PROFILE = "opeva.io/target-worker-profile"
# What the line itself says, better than a status that was written a while ago.
OF_THE_LINE = frozenset(
    {
        Reason.AT_CAPACITY,
        Reason.CPU,
        Reason.MEMORY,
        Reason.GPU,
        Reason.TOO_LARGE,
        Reason.USER_CAP,
        Reason.AHEAD,
        Reason.RESERVED,
    }
)
# Reasons that keep a queued job waiting, whether or not its blockers repeat them.
_SURROUNDINGS = frozenset(
    {
        Reason.SUSPENDED,
        Reason.BACK_OFF,
        Reason.HELD,
        Reason.CONFIG_MISSING,
        Reason.DATASET_MISSING,
        Reason.HOST_UNKNOWN,
        Reason.HOST_UNUSABLE,
        Reason.NETWORK_MISSING,
        Reason.DISK_PRESSURE,
        Reason.PULLING,
        Reason.ENGINE_UNREACHABLE,
        Reason.PREVIOUS_RUN_UNKNOWN,
    }
)
_EVERYBODYS = frozenset({Reason.DISK_PRESSURE})  # holds all jobs alike, so the order among them stays
_NONE = b"[]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An active job: its claim, whether it has a place, and what it waits for beside its turn."""

    claim: Claim
    is_placed: bool = False
    is_aside: bool = False
    profile: str | None = None
    told: bytes = _NONE

    @property
    def blockers(self) -> list[dict[str, Any]]:
        """What the operator saw in the way when it last wrote the status."""
        found: list[dict[str, Any]] = orjson.loads(self.told)
        return found


def of_status(meta: Mapping[str, Any], status: Mapping[str, Any], default: Demand) -> Standing | None:
    """The standing that a status file tells of; None of a job that neither waits nor has a place."""
    phase = Phase(status["phase"])
    if phase.is_terminal or status["reason"] == Reason.UNKILLABLE:
        return None
    claim = Claim(
        name=meta["name"],
        host=intern(str(status.get("host") or LOCAL)),
        queued_at=datetime.fromisoformat(status["queuedAt"]),
        priority=int((status.get("terms") or {}).get("priority", 0)),
        user=intern(str((status.get("jobInfo") or {}).get("submitted_by", ""))),
        demand=_demand(status.get("demand"), default),
    )
    profile = (meta.get("annotations") or {}).get(PROFILE)
    if phase is not Phase.QUEUED:
        return Standing(claim=claim, is_placed=True, profile=profile)
    blockers = _blockers(status)
    kinds = {blocker["kind"] for blocker in blockers}
    return Standing(
        claim=claim,
        is_aside=bool(kinds - OF_THE_LINE - _EVERYBODYS),
        profile=profile,
        told=bytes(memoryview(orjson.dumps(blockers))) if blockers else _NONE,
    )


def of_spec(job: SimulationJob, queued_at: datetime, default: Demand) -> Standing:
    """The standing of a job that the operator has not seen yet."""
    return Standing(claim=claim_of(job, queued_at, default), profile=job.metadata.annotations.get(PROFILE))


def claim_of(job: SimulationJob, queued_at: datetime, default: Demand) -> Claim:
    """What a job asks for that joins the line at that moment."""
    return Claim(
        name=job.metadata.name,
        host=intern(job.spec.target_host or LOCAL),
        queued_at=queued_at,
        priority=job.spec.priority,
        user=intern(job.spec.submitted_by or ""),
        demand=demand_of(job.spec, default),
    )


def _blockers(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a status has in the way; its own reason too, where that stands alone."""
    found = [dict(blocker) for blocker in status.get("blockers") or () if isinstance(blocker.get("kind"), str)]
    reason = status["reason"]
    if reason in _SURROUNDINGS and all(blocker["kind"] != reason for blocker in found):
        details = {"retryAt": status["retryAt"]} if reason == Reason.BACK_OFF and status.get("retryAt") else {}
        found.insert(0, {"kind": reason, "message": status.get("message", ""), "unblocks": "", "details": details})
    return found


def _demand(found: Any, default: Demand) -> Demand:
    if not isinstance(found, dict):
        return default
    return _shared(int(found.get("cpu", 0)), int(found.get("memory", 0)), int(found.get("gpu", 0)))


@lru_cache(maxsize=256)
def _shared(cpu: int, memory: int, gpu: int) -> Demand:
    """One value for all jobs that ask for the same."""
    return Demand(cpu, memory, gpu)
