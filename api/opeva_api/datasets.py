"""Endpoints of data sets: list, upload, download, delete."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import PurePosixPath
from typing import Any

import anyio
from anyio import to_thread
from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

from opeva_api.archive import packed
from opeva_api.datasetfiles import ROOT, checked_name
from opeva_api.record import Record
from opeva_api.sending import headers_of, stepped
from opeva_api.services import Api, Json, Services
from opeva_api.upload import Upload, boundary_of
from opeva_specs.configs import MAX_CONFIG_BYTES
from opeva_specs.model import config_file
from opeva_specs.surroundings import DATASETS
from opeva_specs.yamltree import MAX_BYTES

router = APIRouter(tags=["datasets"])

_BATCH_BYTES = 2**20
_PARTS = {"file": {"type": "string", "format": "binary"}, "name": {"type": "string"}, "description": {"type": "string"}}
_FORM = {"type": "object", "required": ["file"], "properties": _PARTS}
_UPLOAD: dict[str, Any] = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}}


@router.get("/datasets")
async def datasets(api: Api) -> Response:
    """All data sets, by name."""
    return Json(await api.reading(api.datasets.rows))


@router.post("/dataset/upload", openapi_extra=_UPLOAD)
async def upload(api: Api, request: Request) -> Response:
    """Store a data set: one zip file, or its files; it is there as a whole or not at all."""
    return Json(await _uploaded(api, request))


@router.post("/dataset", openapi_extra=_UPLOAD)
async def create(api: Api, request: Request) -> Response:
    """The same as `/dataset/upload`: data sets are not made of measurements here."""
    return Json(await _uploaded(api, request))


@router.get("/dataset/download/{name}")
async def download(api: Api, name: str) -> Response:
    """A data set as a zip file."""
    listing = await api.reading(api.datasets.listing, checked_name(name))
    body = stepped(api, packed(api.volume, f"{ROOT}/{name}", listing.files))
    return StreamingResponse(body, headers=headers_of(f"{name}.zip"), media_type="application/zip")


@router.delete("/dataset/{name}")
async def delete(api: Api, name: str) -> Response:
    """Remove a data set that no active job needs."""
    user = await api.reading(user_of, api, checked_name(name))
    if user is not None:
        raise HTTPException(409, f"job {user.job_id} is {user.word} and needs the data set {name!r}: stop it first")
    await api.writing(api.datasets.remove, name)
    return Json({"message": "deleted", "name": name})


async def _uploaded(api: Services, request: Request) -> dict[str, Any]:
    boundary = boundary_of(request)
    box = await api.writing(api.datasets.new_box)
    sent = api.datasets.upload_into(box, boundary)
    try:
        await _receive(api, request, sent)
        name = checked_name(sent.fields.get("name") or PurePosixPath(sent.files[0].name).stem)
        await _all_of(api, api.datasets.arranged(box, sent))
        await api.writing(api.datasets.place, box, name)
        return {"message": "Dataset uploaded", "name": name}
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(sent.close)
            await to_thread.run_sync(api.datasets.throw_away, box)


async def _receive(api: Services, request: Request, sent: Upload) -> None:
    try:
        async for data in _batches(request):
            await api.writing(sent.feed, data)
    except ClientDisconnect as error:
        raise HTTPException(400, "the upload broke off before its end") from error
    sent.finish()


async def _batches(request: Request) -> AsyncIterator[bytes]:
    """The body in pieces of a megabyte, for each of them costs a change of threads."""
    batch = bytearray()
    async for data in request.stream():
        batch += data
        if len(batch) >= _BATCH_BYTES:
            yield bytes(batch)
            batch.clear()
    if batch:
        yield bytes(batch)


async def _all_of(api: Services, steps: Iterator[None]) -> None:
    end = object()
    while await api.writing(next, steps, end) is not end:
        pass


def user_of(api: Services, name: str) -> Record | None:
    """An active job whose config or spec names the data set."""
    named = re.compile(re.escape(f"{DATASETS}/{name}").encode() + rb"(?![\w.-])")
    active = (record for record in api.index.records() if not record.is_ended)
    return next((record for record in active if any(named.search(text) for text in _texts_of(api, record))), None)


def _texts_of(api: Services, record: Record) -> Iterator[bytes]:
    """What a job was accepted with, or will be."""
    recorded = _read(api, f"state/jobs/{record.job_id}/config.yaml", MAX_CONFIG_BYTES)
    yield recorded
    yield _read(api, f"specs/{record.source}", MAX_BYTES)
    path = record.told()["job_info"].get("config_path")
    if not recorded and isinstance(path, str):
        yield _read(api, f"configs/{config_file(path)}", MAX_CONFIG_BYTES)


def _read(api: Services, path: str, limit: int) -> bytes:
    try:
        return api.volume.read(path, limit)
    except OSError:
        return b""
