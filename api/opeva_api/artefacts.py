"""Endpoints of what jobs leave behind: files under a job's folder, its config as accepted, its simulation data."""

from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, Field

from opeva_api import simulationdata, tree
from opeva_api.body import described, read_object
from opeva_api.sending import attachment, headers_of
from opeva_api.services import Api, Json, Services
from opeva_api.tree import Download
from opeva_specs.configs import MAX_CONFIG_BYTES

router = APIRouter(tags=["artefacts"])

_NO_CONFIG = "no config was recorded for this job"


class IndexBody(BaseModel):
    """Which simulation data are asked for."""

    job_id: str = Field(description="The job.")
    session: str = Field("latest", description="A folder of its simulation data; default: the newest.")


class FileBody(IndexBody):
    """One file of them."""

    relative_path: str = Field(description="Inside the session, or else inside the job's folder.")


@router.get("/jobs/{job_id}/files")
async def files(api: Api, job_id: str) -> Response:
    """What lies in the job's folder, at most 10,000 files."""
    record = api.job(job_id)
    listing = await api.reading(_listed, api, f"jobs/{record.job_id}")
    rows = [{"path": file.path, "size": file.size, "modified_at": file.modified_at} for file in listing.files]
    return Json({"job_id": job_id, "files": rows, "count": len(rows), "truncated": not listing.is_whole})


@router.get("/jobs/{job_id}/files/{path:path}")
async def file(api: Api, job_id: str, path: str) -> Response:
    """One file of the job's folder, as an attachment."""
    record = api.job(job_id)
    return attachment(api, await api.reading(opened, api, f"jobs/{record.job_id}", path))


@router.get("/job-resolved-config/{job_id}")
async def resolved_config(api: Api, job_id: str) -> Response:
    """The config as it was accepted, whatever the job or anybody else wrote since."""
    record = api.job(job_id)
    data = await api.reading(_config_of, api, record.job_id)
    headers = headers_of(f"{record.job_id}.yaml") | {"Content-Disposition": "inline"}
    return Response(data, media_type="text/yaml; charset=utf-8", headers=headers)


@router.post("/simulation-data/index", openapi_extra=described(IndexBody))
async def simulation_index(api: Api, request: Request) -> Response:
    """The tables that a job exported, and the days they tell of."""
    body = await read_object(request)
    record = api.job(_text(body, "job_id"))
    session = _text(body, "session", "latest")
    return Json(await api.reading(simulationdata.indexed, api.volume, record.job_id, session))


@router.post("/simulation-data/file", openapi_extra=described(FileBody))
async def simulation_file(api: Api, request: Request) -> Response:
    """One of these tables, or any other file of the job's folder."""
    body = await read_object(request)
    record = api.job(_text(body, "job_id"))
    session, path = _text(body, "session", "latest"), _text(body, "relative_path")
    return attachment(api, await api.reading(_simulation_file, api, record.job_id, session, path))


def opened(api: Services, folder: str, path: str) -> Download:
    """The file of that path in a folder; raises 400 for a path that leads elsewhere, 404 where there is no file."""
    if not is_inside(path):
        raise HTTPException(400, f"cannot use the path {path[:80]!r}: write it without '..', and relative")
    try:
        return tree.opened(api.volume, f"{folder}/{path}")
    except OSError as error:
        raise HTTPException(404, f"there is no file {path[:200]!r} here, or it is no plain file") from error


def is_inside(path: str) -> bool:
    """Whether a path names something below the folder it is used in."""
    parts = path.split("/")
    return path.isprintable() and "\\" not in path and all(part not in ("", ".", "..") for part in parts)


def _simulation_file(api: Services, job_id: str, session: str, path: str) -> Download:
    if not is_inside(path):
        raise HTTPException(400, f"cannot use relative_path {path[:80]!r}: write it without '..', and relative")
    for folder in simulationdata.folders(api.volume, job_id, session):
        try:
            return tree.opened(api.volume, f"{folder}/{path}")
        except OSError:
            continue
    raise HTTPException(404, f"there is no file {path[:200]!r} in the simulation data, nor in the job's folder")


def _listed(api: Services, folder: str) -> tree.Listing:
    try:
        return tree.listed(api.volume, folder)
    except OSError:  # not there yet, or no folder: a job that has nothing to show
        return tree.Listing(files=(), is_whole=True)


def _config_of(api: Services, job_id: str) -> bytes:
    try:
        return api.volume.read(f"state/jobs/{job_id}/config.yaml", MAX_CONFIG_BYTES)
    except FileNotFoundError as error:
        raise HTTPException(404, _NO_CONFIG) from error


def _text(body: dict[str, Any], key: str, default: str | None = None) -> str:
    found = body.get(key)
    if found is None and default is not None:
        return default
    if not isinstance(found, str) or not found:
        raise HTTPException(400, f"{key} is missing: send it as text")
    return found
