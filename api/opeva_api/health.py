"""Endpoints that tell how the service itself is, and what it is."""

from typing import Any

from fastapi import APIRouter, Request, Response

from opeva_api import front
from opeva_api.heart import LATE_AFTER_SECONDS
from opeva_api.services import Api, Json, Services

router = APIRouter(tags=["health"])

ABOUT = "A job is a spec file; an operator makes containers match it and writes back what came of it."
LINKS = {
    "/docs": "all endpoints, to try out",
    "/jobs": "all jobs, newest first",
    "/queue": "those that wait, the next one first",
    "/hosts": "hosts that run them",
    "/experiment-configs": "configs to run them with",
    "/health": "how this service and the operator are",
    "/schema/simulationjob.json": "the language of spec files, for editors",
    "/openapi.json": "this API, for tools",
}


@router.get("/health")
async def health(api: Api) -> Response:
    """Always 200 while this service answers; `degraded` when the operator or its engine does not."""
    operator = api.heart.beat.operator
    problems = _problems(api)
    told = {
        "status": "degraded" if problems else "ok",
        "problems": problems,
        "operator": {
            "heartbeat_age_seconds": api.heart.age(),
            "synced": operator.get("synced"),
            "watch_mode": operator.get("watchMode"),
            "engine": operator.get("engine"),
            "held_deletions": operator.get("heldDeletions") or [],
        },
        "api": {"watch_mode": api.feed.mode, "jobs": len(api.index), "log_followers": api.followers},
    }
    return Json(told)


@router.get("/", include_in_schema=False)
async def root(api: Api, request: Request) -> Response:
    """What this is, and where to go: a page for browsers, JSON for others."""
    headers = {"Vary": "Accept"}
    if "text/html" not in request.headers.get("accept", ""):
        return Json({"service": "opeva-jobs", "about": ABOUT, "links": LINKS}, headers=headers)
    page = front.page(ABOUT, LINKS, _problems(api), str(request.base_url))
    return Response(page, media_type="text/html; charset=utf-8", headers=headers)


def _problems(api: Services) -> list[str]:
    operator, age = api.heart.beat.operator, api.heart.age()
    if age is None:
        return ["the operator has never been heard of on this volume: start it"]
    found = [str(sentence) for sentence in operator.get("problems") or []]
    if age > LATE_AFTER_SECONDS:
        found.append(f"the operator has been silent for {age:.0f} s")
    engine: Any = operator.get("engine")
    if isinstance(engine, dict) and engine.get("reachable") is False:
        found.append(f"the engine cannot be reached: {engine.get('message') or 'no reason known'}")
    if operator.get("synced") is False:
        found.append("the operator has not looked at all jobs yet")
    return found
