"""Wishes: what people ask for once, written down for the operator, and the wait for it to come true."""

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from fastapi import HTTPException

from opeva_api.record import STOP_REQUESTED, Record
from opeva_api.services import Services
from opeva_specs.status import Wish

WAIT_SECONDS = 0.8
_LOOK_AGAIN_SECONDS = 0.25  # where no event tells of a change
_MAX_REASON = 500


def make(api: Services, record: Record, wish: str, reason: str) -> None:
    """Write a wish down; durable once this returns, and shown at once."""
    digest = record.told().get("digest")
    api.control.write(
        record.job_id,
        Wish(id=str(uuid.uuid4()), wish=wish, digest=digest, by="api", reason=reason, at=datetime.now(UTC)),
    )
    api.index.refresh([record.job_id])


async def after(
    api: Services, record: Record, seconds: float, is_true: Callable[[Record | None], bool]
) -> Record | None:
    """The job once that is true of it, or as it is when the time is up."""
    deadline = time.monotonic() + seconds
    while True:
        now = api.index.get(record.job_id)
        left = deadline - time.monotonic()
        if is_true(now) or left <= 0:
            return now
        await api.feed.next_turn(min(left, _LOOK_AGAIN_SECONDS))
        await api.reading(api.index.refresh, [record.job_id])


async def stopped(api: Services, record: Record, reason: str) -> dict[str, Any]:
    """Ask for an end, and wait a moment for it; harmless when it is asked for already, or has come."""
    if record.is_ended:
        return answer(record, f"Job already finished ({record.word})")
    if record.word != STOP_REQUESTED:
        await api.writing(make, api, record, "stop", reason)
    now = await after(api, record, WAIT_SECONDS, lambda found: found is None or found.is_ended)
    told = answer(now or record, _message(now))
    return told if now is None or now.is_ended else told | note(api)


def _message(now: Record | None) -> str:
    if now is None or now.word in ("stopped", "canceled"):
        return "stopped"
    return f"Job already finished ({now.word})" if now.is_ended else "stop requested"


def answer(record: Record, message: str) -> dict[str, Any]:
    """What is told of a job after something was asked of it."""
    return {"message": message, "job_id": record.job_id, "status": record.word}


def reason_in(body: dict[str, Any]) -> str:
    """Why somebody asks, in the body's `reason`; raises 400 when that is no text."""
    reason = body.get("reason")
    if reason is not None and not isinstance(reason, str):
        raise HTTPException(400, "reason must be text")
    return (reason or "")[:_MAX_REASON]


def note(api: Services) -> dict[str, str]:
    """Why a wish may take longer than usual, if it may."""
    age = api.heart.age()
    if age is None:
        return {"note": "the operator has never been heard of: this is done once it is started"}
    if api.heart.is_dead:
        return {"note": f"the operator has been silent for {age:.0f} s: this is done once it is back"}
    return {}
