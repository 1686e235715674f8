"""Endpoint of image versions: what the hosts have, as the operator saw it; no registry is asked."""

import time
from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Response

from opeva_api.heart import epoch
from opeva_api.imagenames import plain, repository_of, tag_of
from opeva_api.services import Api, Json
from opeva_specs.volume import SharedVolume

router = APIRouter(tags=["images"])

FILE = "state/images.json"
_MAX_BYTES = 8 * 2**20


@router.get("/job-images/versions")
async def versions(
    api: Api,
    repository: Annotated[str | None, Query(max_length=256, description="Default: that of the default image.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> Response:
    """Tags of an image that jobs may name; the default image's is always among them."""
    default = api.settings.default_image
    wanted = repository or repository_of(default)
    seen = await api.reading(read, api.volume)
    tags = _tags(seen, wanted)
    if plain(wanted) == plain(repository_of(default)) and all(tag["name"] != tag_of(default) for tag in tags):
        tags.insert(0, {"name": tag_of(default), "hosts": []})
    tags = sorted(tags, key=lambda tag: tag["name"] != tag_of(default))[:limit]  # the default first, then by age
    told = {"repository": wanted, "tags": tags, "count": len(tags), "cached": True}
    return Json(told | {"fetched_at": epoch(seen.get("at")) or time.time()})


def read(volume: SharedVolume) -> dict[str, Any]:
    """What the operator last saw; empty while it saw nothing."""
    try:
        found = orjson.loads(volume.read(FILE, _MAX_BYTES))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def of_host(seen: Mapping[str, Any], host: str) -> set[str]:
    """The images that a host has, by name and by digest, in their plain form."""
    rows = [row for row in _rows(seen) if host in (row.get("hosts") or ())]
    return {plain(str(row[key])) for row in rows for key in ("name", "digest") if row.get(key)}


def _tags(seen: Mapping[str, Any], repository: str) -> list[dict[str, Any]]:
    rows = [row for row in _rows(seen) if plain(repository_of(row["name"])) == plain(repository)]
    newest_first = sorted(rows, key=lambda row: str(row.get("created") or ""), reverse=True)
    tags: dict[str, dict[str, Any]] = {}
    for row in newest_first:
        tag = tags.setdefault(tag_of(row["name"]), _told(row))
        tag["hosts"] = sorted({*tag["hosts"], *(row.get("hosts") or ())})
    return list(tags.values())


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    digest = row.get("digest")
    told: dict[str, Any] = {
        "name": tag_of(row["name"]),
        "last_updated": row.get("created"),
        "digest": digest.rpartition("@")[2] if isinstance(digest, str) else row.get("id"),
        "hosts": [],
    }
    return {key: value for key, value in told.items() if value is not None}


def _rows(seen: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = seen.get("images")
    rows = found if isinstance(found, list) else []
    return [row for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str)]
