"""Endpoints of those that wait: the queue, and why."""

from typing import Any

from fastapi import APIRouter, Request, Response

from opeva_api.body import read_body
from opeva_api.explain import explained
from opeva_api.preview import previewed
from opeva_api.record import Record
from opeva_api.services import Api, Json, Services
from opeva_api.specs import EITHER
from opeva_api.wishing import note

router = APIRouter(tags=["queue"])


@router.get("/queue")
async def queue(api: Api) -> Response:
    """Jobs that wait, the next one first; those that wait for something else than their turn come last."""
    return Json(await api.reading(_rows, api))


@router.get("/explain/{job_id}")
async def explain(api: Api, job_id: str) -> Response:
    """Everything that keeps a job from starting, and what would change that."""
    record = api.job(job_id)
    return Json(await api.reading(_explained, api, record))


@router.post("/specs/explain", openapi_extra={"requestBody": {"required": True, "content": EITHER}})
async def explain_spec(api: Api, request: Request) -> Response:
    """The same for a spec that is not submitted yet; nothing is written."""
    data = await read_body(request, ("yaml", "json", "x-yaml"))
    api.index.lineup.see(api.heart.beat.hosts)
    return Json(await api.reading(previewed, api, data) | note(api))


def _rows(api: Services) -> list[dict[str, Any]]:
    api.index.lineup.see(api.heart.beat.hosts)
    rows = []
    for standing in api.index.lineup.order():
        claim = standing.claim
        record = api.index.get(claim.name)
        if record is None or record.word != "queued":  # somebody has asked for its end
            continue
        row: dict[str, Any] = {"job_id": claim.name, "enqueued_at": record.queued_at}
        row |= {"preferred_host": claim.host, "require_host": True, "priority": claim.priority}
        row |= {"submitted_by": claim.user} if claim.user else {}
        row |= {"target_worker_profile": standing.profile} if standing.profile else {}
        rows.append(row)
    return rows


def _explained(api: Services, record: Record) -> dict[str, Any]:
    api.index.lineup.see(api.heart.beat.hosts)
    told = explained(record, api.index.lineup)
    return told if record.word != "queued" else told | note(api)
