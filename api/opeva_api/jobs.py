"""Endpoints of jobs: submit, look, stop, delete."""

import time
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Query, Request, Response
from fastapi.responses import StreamingResponse

from opeva_api.body import described, read_object, read_optional_object
from opeva_api.record import NOT_SEEN_YET, STOP_REQUESTED, WORDS, Record, as_info, as_list, merged_info
from opeva_api.services import Api, Json, Services
from opeva_api.submit import RunRequest
from opeva_specs.status import Wish

router = APIRouter(tags=["jobs"])

STOP_WAIT_SECONDS = 0.8
DELETE_WAIT_SECONDS = 5.0
_LOOK_AGAIN_SECONDS = 0.25  # where no event tells of a change
_GONE = "Job not found or already deleted"


@router.post("/run-simulation", openapi_extra=described(RunRequest))
async def run_simulation(
    api: Api, request: Request, idempotency_key: Annotated[str | None, Header()] = None
) -> Response:
    """Turn a request into a job; answered once the job is durable."""
    body = await read_object(request)
    return Json(await api.writing(api.submitter.submit, body, idempotency_key))


@router.get("/jobs")
async def jobs(
    api: Api,
    status: Annotated[str | None, Query(description="Only jobs with this status word.")] = None,
    limit: Annotated[int | None, Query(ge=1)] = None,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """All jobs, newest first."""
    if status is not None and status not in WORDS:
        raise HTTPException(422, f"cannot use status {status[:60]!r}: write one of {', '.join(WORDS)}")
    records, count = api.index.page(status, offset, limit)
    return StreamingResponse(_pieces(records), media_type="application/json", headers={"X-Total-Count": str(count)})


@router.get("/status/{job_id}")
async def status(api: Api, job_id: str) -> Response:
    """The job as `/jobs` tells of it."""
    return Json(api.job(job_id).body)


@router.get("/job-info/{job_id}")
async def job_info(api: Api, job_id: str) -> Response:
    """Everything known about the job, in one flat object."""
    record = api.job(job_id)
    return Json(await api.reading(_info, api, record))


@router.get("/progress/{job_id}")
async def progress(api: Api, job_id: str) -> Response:
    """How far the job is, in the job's own words and as a percentage."""
    return Json(await api.reading(api.files.progress, api.job(job_id)))


@router.get("/result/{job_id}")
async def result(api: Api, job_id: str) -> Response:
    """What the job found out; never null, never NaN."""
    return Json(await api.reading(api.files.result, api.job(job_id)))


@router.post("/stop/{job_id}")
async def stop(api: Api, request: Request, job_id: str) -> Response:
    """Ask for the job to be stopped, and wait a moment for it to happen."""
    record = api.job(job_id)
    body = await read_optional_object(request)
    if record.is_ended:
        return Json(_stop_told(record, f"Job already finished ({record.word})"))
    if record.word != STOP_REQUESTED:
        await api.writing(_wish, api, record, "stop", str(body.get("reason") or "")[:500])
    now = await _after(api, record, STOP_WAIT_SECONDS, lambda r: r is None or r.is_ended)
    answer = _stop_told(now or record, _stop_message(now))
    return Json(answer if now is None or now.is_ended else answer | _note(api))


@router.delete("/job/{job_id}")
async def delete(api: Api, job_id: str) -> Response:
    """Forget an ended job with all its files."""
    record = api.job(job_id, _GONE)
    if not record.is_ended and record.told()["reason"] != NOT_SEEN_YET:
        raise HTTPException(409, f"the job is {record.word}: stop it first")
    await api.writing(_wish, api, record, "delete", "")
    seconds = 0.0 if api.heart.is_dead else DELETE_WAIT_SECONDS
    if await _after(api, record, seconds, lambda r: r is None) is None:
        return Json({"message": "deleted", "job_id": job_id})
    return Json({"message": "delete requested", "job_id": job_id} | _note(api))


async def _pieces(records: Sequence[Record]) -> AsyncIterator[bytes]:
    """A long list in pieces, so that whoever asks for one job need not wait for it."""
    for piece in as_list(records):
        yield piece


def _info(api: Services, record: Record) -> dict[str, Any]:
    told = record.told()
    written = api.files.info(record)
    owned = {key: value for key, value in told["job_info"].items() if key not in written or key in _OWNED}
    known = merged_info({**owned, "job_id": record.job_id}, written, api.settings.mlflow_public_url)
    return as_info(record, known)


_OWNED = frozenset(
    "job_id job_name experiment_name run_name config_path target_host submitted_by image image_tag network "
    "container_name".split()
)


def _wish(api: Services, record: Record, wish: str, reason: str) -> None:
    digest = record.told().get("digest")
    api.control.write(
        record.job_id,
        Wish(id=str(uuid.uuid4()), wish=wish, digest=digest, by="api", reason=reason, at=datetime.now(UTC)),
    )
    api.index.refresh([record.job_id])


async def _after(api: Services, record: Record, seconds: float, is_true: Any) -> Record | None:
    """The job once that is true of it, or as it is when the time is up."""
    deadline = time.monotonic() + seconds
    while True:
        now = api.index.get(record.job_id)
        left = deadline - time.monotonic()
        if is_true(now) or left <= 0:
            return now
        await api.feed.next_turn(min(left, _LOOK_AGAIN_SECONDS))
        await api.reading(api.index.refresh, [record.job_id])


def _stop_message(now: Record | None) -> str:
    if now is None or now.word in ("stopped", "canceled"):
        return "stopped"
    return f"Job already finished ({now.word})" if now.is_ended else "stop requested"


def _stop_told(record: Record, message: str) -> dict[str, Any]:
    return {"message": message, "job_id": record.job_id, "status": record.word}


def _note(api: Services) -> dict[str, str]:
    """Why a wish may take longer than usual, if it may."""
    age = api.heart.age()
    if age is None:
        return {"note": "the operator has never been heard of: this is done once it is started"}
    if api.heart.is_dead:
        return {"note": f"the operator has been silent for {age:.0f} s: this is done once it is back"}
    return {}
