"""Endpoint of hosts, in the shapes of both web clients."""

from typing import Any

from fastapi import APIRouter, Request, Response

from opeva_api.configs import wants_text
from opeva_api.heart import LATE_AFTER_SECONDS, epoch
from opeva_api.services import Api, Json, Services

router = APIRouter(tags=["hosts"])

_PASSED_ON = {
    "usable": "usable",
    "message": "message",
    "labels": "labels",
    "capacity": "capacity",
    "clockOffsetSeconds": "clock_offset_seconds",
}


@router.get("/hosts")
async def hosts(api: Api, request: Request) -> Response:
    """Hosts that may run jobs, and what they do now."""
    names = api.heart.hosts
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
    word = record.word if record else None
    return {
        "online": bool(found.get("online")) and is_heard,
        "last_seen": epoch(found.get("lastSeen")),
        "running": found.get("running") or 0,
        "active_job_ids": active,
        "current_job_id": current,
        "current_job_status": word,
        "info": {
            **_info(found),
            "active_job_count": len(active),
            "active_job_id": current,
            "active_job_status": word,
            "active_jobs": active,
        },
    }


def _info(found: dict[str, Any]) -> dict[str, Any]:
    """What the operator tells of a host, under the names that clients read."""
    written, capacity = found.get("info"), found.get("capacity")
    info = dict(written) if isinstance(written, dict) else {}
    info |= {name: found[key] for key, name in _PASSED_ON.items() if found.get(key) is not None}
    if isinstance(capacity, dict):
        has_gpu = (capacity.get("gpu") or 0) > 0
        info |= {"max_active_jobs": capacity.get("jobs"), "gpu_enabled": has_gpu, "has_gpu": has_gpu}
    return info
