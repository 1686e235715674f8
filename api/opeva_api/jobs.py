"""Endpoints of jobs: submit, look, stop, delete."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Query, Request, Response
from fastapi.responses import StreamingResponse

from opeva_api.body import described, read_object, read_optional_object
from opeva_api.record import NOT_SEEN_YET, WORDS, Record, as_info, as_list, merged_info
from opeva_api.runrequest import RunRequest
from opeva_api.services import Api, Json, Services
from opeva_api.wishing import after, make, note, reason_in, stopped

router = APIRouter(tags=["jobs"])

DELETE_WAIT_SECONDS = 5.0
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
    return Json(await stopped(api, record, reason_in(await read_optional_object(request))))


@router.delete("/job/{job_id}")
async def delete(api: Api, job_id: str) -> Response:
    """Forget an ended job with all its files."""
    record = api.job(job_id, _GONE)
    if not record.is_ended and record.told()["reason"] != NOT_SEEN_YET:
        raise HTTPException(409, f"the job is {record.word}: stop it first")
    await api.writing(make, api, record, "delete", "")
    seconds = 0.0 if api.heart.is_dead else DELETE_WAIT_SECONDS
    if await after(api, record, seconds, lambda r: r is None) is None:
        return Json({"message": "deleted", "job_id": job_id})
    return Json({"message": "delete requested", "job_id": job_id} | note(api))


async def _pieces(records: Sequence[Record]) -> AsyncIterator[bytes]:
    """A long list in pieces, so that whoever asks for one job need not wait for it."""
    for piece in as_list(records):
        yield piece


def _info(api: Services, record: Record) -> dict[str, Any]:
    told = record.told()
    written = api.files.info(record)
    owned = {key: value for key, value in told["job_info"].items() if key not in written or key in _OWNED}
    known = merged_info({**owned, "job_id": record.job_id}, written, api.settings.mlflow_public_url)
    return as_info(record, known) | api.files.evidence(record)


_OWNED = frozenset(
    "job_id job_name experiment_name run_name config_path target_host submitted_by image image_tag network "
    "container_name".split()
)
