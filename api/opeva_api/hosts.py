"""Endpoint of hosts, in the shapes of both web clients."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response

from opeva_api.configs import wants_text
from opeva_api.heart import LATE_AFTER_SECONDS
from opeva_api.services import Api, Json, Services
from opeva_api.submit import HOSTS

router = APIRouter(tags=["hosts"])


@router.get("/hosts")
async def hosts(api: Api, request: Request) -> Response:
    """Hosts that may run jobs, and what they do now."""
    names = sorted({*HOSTS, *api.heart.beat.hosts})
    available = names if wants_text(request) else [{"name": name, "host": name} for name in names]
    told = {name: _host(api, api.heart.beat.hosts.get(name)) for name in names}
    return Json({"available_hosts": available, "hosts": told}, headers={"Vary": "Content-Type"})


def _host(api: Services, found: Any) -> dict[str, Any]:
    found = found if isinstance(found, dict) else {}
    age = api.heart.age()
    is_heard = age is not None and age <= LATE_AFTER_SECONDS
    active = [name for name in found.get("activeJobIds") or [] if isinstance(name, str)]
    current = active[0] if active else None
    record = api.index.get(current) if current else None
    info = found.get("info") if isinstance(found.get("info"), dict) else {}
    return {
        "online": bool(found.get("online")) and is_heard,
        "last_seen": _epoch(found.get("lastSeen")),
        "running": found.get("running") or 0,
        "active_job_ids": active,
        "current_job_id": current,
        "current_job_status": record.word if record else None,
        "info": {**(info or {}), "active_job_count": len(active), "active_job_id": current, "active_jobs": active},
    }


def _epoch(instant: Any) -> float | None:
    try:
        return datetime.fromisoformat(instant).timestamp()
    except (TypeError, ValueError):
        return None
