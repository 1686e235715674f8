"""Cleaning up: which ended jobs may go, and the wishes to remove them; what is active is never touched."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException

from opeva_api.record import ENDED, Record
from opeva_api.services import Services
from opeva_api.wishing import make

AT_ONCE = 500  # each removal is a durable file: a longer list takes several requests
_DAY = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What somebody wants gone."""

    keep: frozenset[str]
    older_than_days: float
    words: frozenset[str]


def checked_words(words: Iterable[str] | None) -> frozenset[str]:
    """Status words of ended jobs, all of them when none is given; raises 400 for any other."""
    found = frozenset(words) if words is not None else ENDED
    odd = sorted(found - ENDED)
    if odd:
        raise HTTPException(400, f"cannot clean up jobs that are {odd[0][:60]!r}: use {', '.join(sorted(ENDED))}")
    return found


def looked(api: Services, wanted: Wanted) -> dict[str, Any]:
    """What would be removed; nothing is."""
    goes, kept = _divided(api, wanted)
    return _told([], [record.job_id for record in goes], kept, is_dry=True)


def cleaned(api: Services, wanted: Wanted) -> dict[str, Any]:
    """Wish for the removal of the oldest ones, and tell which are left for the next request."""
    goes, kept = _divided(api, wanted)
    removed = []
    for record in goes[:AT_ONCE]:
        now = api.index.get(record.job_id)
        if now is not None and now.is_ended:  # it may have been run again meanwhile
            make(api, now, "delete", "cleaned up")
            removed.append(record.job_id)
    left = [record.job_id for record in goes[AT_ONCE:]]
    return _told(removed, left, kept, is_dry=False)


def _divided(api: Services, wanted: Wanted) -> tuple[list[Record], list[str]]:
    """Jobs that may go, oldest first, and the names of all others."""
    latest = time.time() - wanted.older_than_days * _DAY
    goes, kept = [], []
    for record in sorted(api.index.records(), key=lambda r: (r.queued_at, r.job_id)):
        if _may_go(record, wanted, latest):
            goes.append(record)
        else:
            kept.append(record.job_id)
    return goes, kept


def _may_go(record: Record, wanted: Wanted, latest: float) -> bool:
    if record.word not in wanted.words or record.origin != "status" or record.is_kept or record.job_id in wanted.keep:
        return False
    return wanted.older_than_days == 0 or _ended_at(record) <= latest


def _ended_at(record: Record) -> float:
    told = record.told()
    return float(told.get("finished_at") or told["last_status_at"])


def _told(removed: list[str], would_remove: list[str], kept: list[str], *, is_dry: bool) -> dict[str, Any]:
    count = len(would_remove) if is_dry else len(removed)
    return {"removed": removed, "would_remove": would_remove, "kept": kept, "count": count, "dry_run": is_dry}
