"""Endpoints for whoever looks after the server: one job again, or many away. Nothing is done that is not so."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from opeva_api import cleanup
from opeva_api.body import described, read_optional_object
from opeva_api.record import NOT_SEEN_YET, STOP_REQUESTED, Record
from opeva_api.services import Api, Json, Services
from opeva_api.standing import LOCAL
from opeva_api.wishing import WAIT_SECONDS, after, answer, make, note, reason_in, stopped

router = APIRouter(prefix="/ops", tags=["ops"])

B = TypeVar("B", bound=BaseModel)


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class ReasonBody(_Body):
    """Why."""

    reason: str | None = Field(None, description="Why, in a few words.")
    force: bool | None = Field(None, description="Also where the job's state speaks against it.")


class RequeueBody(_Body):
    """How to run a job again."""

    force: bool | None = Field(None, description="Also a job that finished well.")
    preferred_host: str | None = Field(None, description="The host of its spec; another one is refused.")
    require_host: bool | None = Field(None, description="A pin of the spec is always kept.")


class CleanupBody(_Body):
    """Which ended jobs to remove."""

    dry_run: bool | None = Field(None, description="false removes; anything else only tells what would be.")
    keep: Annotated[list[str], Field(max_length=100_000)] | None = Field(None, description="Ids of jobs to keep.")
    older_than_days: float | None = Field(None, ge=0, le=36500, description="Only jobs that ended longer ago.")
    status: list[str] | None = Field(None, description="Only jobs with one of these status words.")


@router.post("/jobs/{job_id}/stop", openapi_extra=described(ReasonBody))
async def stop(api: Api, request: Request, job_id: str) -> Response:
    """The same as `/stop/{job_id}`."""
    record = api.job(job_id)
    return Json(await stopped(api, record, reason_in(await read_optional_object(request))))


@router.post("/jobs/{job_id}/requeue", openapi_extra=described(RequeueBody))
async def requeue(api: Api, request: Request, job_id: str) -> Response:
    """Run an ended job again, as its spec says now; one that finished well only by force."""
    record = api.job(job_id)
    body = _read(RequeueBody, await read_optional_object(request))
    if record.word == "queued":
        return Json(answer(record, "Job already queued"))
    _check_requeue(record, body)
    await api.reading(_check_source, api, record)
    await api.writing(make, api, record, "rerun", "")
    before = record.told()["generation"]
    now = await after(api, record, WAIT_SECONDS, lambda r: r is None or r.told()["generation"] > before)
    is_done = now is None or now.told()["generation"] > before
    told = answer(now or record, "requeued" if is_done else "requeue requested")
    return Json(told if is_done else told | note(api))


@router.post("/jobs/{job_id}/cancel", openapi_extra=described(ReasonBody))
async def cancel(api: Api, request: Request, job_id: str) -> Response:
    """Take a waiting job out of the queue; a job that runs is stopped by force only."""
    record = api.job(job_id)
    body = _read(ReasonBody, await read_optional_object(request))
    if record.word == "canceled":
        return Json(answer(record, "Job already canceled"))
    if record.is_ended:
        raise HTTPException(409, f"the job is {record.word} already: there is nothing to cancel")
    if record.word not in ("queued", STOP_REQUESTED) and not body.force:
        raise HTTPException(409, f'the job is {record.word}: stop it, or send {{"force": true}} to have it stopped')
    return Json(await stopped(api, record, body.reason or ""))


@router.post("/jobs/{job_id}/fail", openapi_extra=described(ReasonBody))
async def fail(api: Api, request: Request, job_id: str) -> Response:
    """Never declares a run failed that did not fail; by force it stops one that is active."""
    record = api.job(job_id)
    body = _read(ReasonBody, await read_optional_object(request))
    if record.is_ended:
        raise HTTPException(409, f"the job is {record.word} already, and how a job ended is never changed")
    if record.word == "queued":
        raise HTTPException(409, "the job is queued, so it cannot have failed: cancel it instead")
    if not body.force:
        raise HTTPException(
            409,
            f"the job is {record.word} and has not failed: stop it, or send "
            '{"force": true} to have it stopped for that reason',
        )
    return Json(await stopped(api, record, body.reason or ""))


@router.post("/queue/cleanup")
async def clean_queue(api: Api) -> Response:
    """The queue follows the spec files, so nothing in it can be left over: it is told, and kept."""
    kept = [standing.claim.name for standing in api.index.lineup.order()]
    message = "nothing in the queue is left over: it follows the spec files; cancel a job to take it out"
    return Json({"message": message, "removed": [], "would_remove": [], "kept": kept, "count": 0, "dry_run": False})


@router.post("/jobs/cleanup", openapi_extra=described(CleanupBody))
async def clean_jobs(api: Api, request: Request) -> Response:
    """Tell which ended jobs could go; with `{"dry_run": false}` ask for their removal."""
    body = _read(CleanupBody, await read_optional_object(request))
    wanted = cleanup.Wanted(
        keep=frozenset(body.keep or ()),
        older_than_days=body.older_than_days or 0.0,
        words=cleanup.checked_words(body.status),
    )
    if body.dry_run is not False:
        return Json(await api.reading(cleanup.looked, api, wanted))
    return Json(await api.writing(cleanup.cleaned, api, wanted) | note(api))


def _read(model: type[B], body: Mapping[str, Any]) -> B:
    try:
        return model.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = first["msg"].removeprefix("Input ")
        raise HTTPException(400, f"{'.'.join(map(str, first['loc']))} {message[:1].lower()}{message[1:]}") from error


def _check_requeue(record: Record, body: RequeueBody) -> None:
    told = record.told()
    pin = told.get("host") or LOCAL
    if body.preferred_host and body.preferred_host != pin:
        raise HTTPException(
            409, f"the job belongs to host {pin!r}: a pin is part of its spec, so change targetHost there"
        )
    if not record.is_ended:
        raise HTTPException(409, f"the job is {record.word}: stop it first")
    if record.word == "finished" and not body.force:
        raise HTTPException(409, 'the job has finished: send {"force": true} to run it again')
    if record.origin == "rejected" or told["reason"] == NOT_SEEN_YET:
        raise HTTPException(409, f"specs/{record.source} cannot be accepted as it is: mend the file, and it runs")


def _check_source(api: Services, record: Record) -> None:
    if not api.volume.exists(f"specs/{record.source}"):
        raise HTTPException(409, f"specs/{record.source} is gone: put it back, or submit the job anew")
