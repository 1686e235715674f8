"""Endpoints of logs: text that ends at the end of the file, unless the client asks to follow."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Response
from fastapi.responses import StreamingResponse

from opeva_api.jobfiles import run_of
from opeva_api.logfiles import CHUNK_BYTES, Cleaner, Piece, Source
from opeva_api.record import Record
from opeva_api.services import Api, Json, Services

router = APIRouter(tags=["logs"])

MAX_FOLLOWERS = 500
_TEXT = "text/plain; charset=utf-8"
_SHORTEST_WAIT, _LONGEST_WAIT = 0.2, 1.0

Tail = Annotated[int | None, Query(ge=1, le=100_000, description="Only the last lines, at most 8 MiB of them.")]
Offset = Annotated[int | None, Query(ge=0, le=2**62, description="Only what follows this byte.")]
Follow = Annotated[bool, Query(description="Go on until the job ends.")]
From = Annotated[Source | None, Query(description="own: what the job wrote; captured: what it printed.")]


@router.get("/logs/{job_id}")
async def logs(
    api: Api, job_id: str, tail: Tail = None, offset: Offset = None, follow: Follow = False, source: From = None
) -> Response:
    """The job's log as text; one sentence while there is none."""
    record = api.job(job_id)
    return await _answer(api, record, tail, offset, source, is_followed=follow) or _no_log_yet(record)


@router.get("/file-logs/{job_id}")
async def file_logs(
    api: Api, job_id: str, tail: Tail = None, offset: Offset = None, follow: Follow = False, source: From = None
) -> Response:
    """The same text as `/logs`; 404 while there is none."""
    answer = await _answer(api, api.job(job_id), tail, offset, source, is_followed=follow)
    if answer is None:
        raise HTTPException(404, "Log file not found")
    return answer


@router.get("/logs-chunk/{job_id}")
async def logs_chunk(
    api: Api,
    job_id: str,
    offset: Offset = None,
    tail_lines: Annotated[int, Query(ge=1, le=5000, description="Without an offset: so many last lines.")] = 200,
    max_bytes: Annotated[int, Query(ge=1024, le=2**21, description="No more than this.")] = CHUNK_BYTES,
) -> Response:
    """A bounded part of the same text, and where the next part begins."""
    record = api.job(job_id)
    chunk = await api.reading(api.logs.chunk, record, offset, tail_lines, max_bytes)
    told: dict[str, Any] = {"job_id": job_id, "text": "", "next_offset": 0, "truncated": False, "available": False}
    if chunk is None:
        return Json(told | {"message": _sentence(record).decode().strip()})
    told |= {"text": chunk.text.decode(), "next_offset": chunk.next_offset, "truncated": chunk.is_truncated}
    message = "the log was replaced by another: this is its end" if chunk.is_reset else None
    return Json(told | {"available": True, "message": message}, headers={"Cache-Control": "no-store"})


async def _answer(
    api: Services, record: Record, tail: int | None, offset: int | None, source: Source | None, *, is_followed: bool
) -> Response | None:
    if tail is not None and offset is not None:
        raise HTTPException(422, "tail and offset cannot be used together: send one of them")
    if is_followed and api.followers >= MAX_FOLLOWERS:
        raise HTTPException(503, f"{MAX_FOLLOWERS} clients follow logs already: read with ?offset= instead")
    piece = await api.reading(api.logs.look, record, source, offset, tail)
    if is_followed and (piece is not None or not record.is_ended):
        return StreamingResponse(_followed(api, record, source, piece), headers=_headers(piece), media_type=_TEXT)
    if piece is None:
        return None
    headers = _headers(piece) | {"X-Opeva-Log-Next-Offset": str(piece.end)}
    if piece.start + len(piece.data) >= piece.end:
        return Response(Cleaner().clean(piece.data, is_last=True), headers=headers, media_type=_TEXT)
    return StreamingResponse(_whole(api, record, piece), headers=headers, media_type=_TEXT)


def _headers(piece: Piece | None) -> dict[str, str]:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Opeva-Log-Source": "none"}
    if piece is not None:
        headers |= {"X-Opeva-Log-Source": piece.name, "X-Opeva-Log-Offset": str(piece.start)}
    if piece is not None and piece.is_reset:
        headers["X-Opeva-Log-Reset"] = "1"
    return headers


def _no_log_yet(record: Record) -> Response:
    headers = _headers(None) | {"X-Opeva-Log-Next-Offset": "0"}
    return Response(_sentence(record), headers=headers, media_type=_TEXT)


def _sentence(record: Record) -> bytes:
    told = record.told()
    more = f": {told['message']}" if told["message"] else ""
    when = "" if record.is_ended else " yet"
    return f"No log{when}: job {record.job_id} is {record.word} ({told['reason']}){more}\n".encode()


async def _whole(api: Services, record: Record, piece: Piece) -> AsyncIterator[bytes]:
    """Everything up to the end that the file had when it was asked for."""
    cleaner, position, data = Cleaner(), piece.start, piece.data
    while data:
        position += len(data)
        yield cleaner.clean(data, is_last=position >= piece.end)
        rest = await api.reading(api.logs.more, record, piece, position, piece.end) if position < piece.end else None
        data = rest or b""


async def _followed(api: Services, record: Record, source: Source | None, piece: Piece | None) -> AsyncIterator[bytes]:
    api.followers += 1
    try:
        while piece is None:
            await asyncio.sleep(_LONGEST_WAIT / 2)
            now = api.index.get(record.job_id)
            piece = await api.reading(api.logs.look, now or record, source, None, None)
            if piece is None and (now is None or now.is_ended):
                yield _sentence(now or record)
                return
        async for data in _growing(api, record, piece):
            yield data
    finally:
        api.followers -= 1


async def _growing(api: Services, record: Record, piece: Piece) -> AsyncIterator[bytes]:
    """All bytes of a log, as they come, until the attempt that writes it is over and nothing is left to read."""
    cleaner, position, wait = Cleaner(), piece.start + len(piece.data), _SHORTEST_WAIT
    yield cleaner.clean(piece.data)
    run: object = None
    while True:
        now = api.index.get(record.job_id)
        present = None if now is None else run_of(now.told())
        run = run or present
        is_over = now is None or now.is_ended or present != run  # judged before reading, so nothing is missed
        data = await api.reading(api.logs.more, record, piece, position, None)
        if data:
            position, wait = position + len(data), _SHORTEST_WAIT
            yield cleaner.clean(data)
        elif data is None or is_over:
            yield cleaner.clean(b"", is_last=True)
            return
        else:
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, _LONGEST_WAIT)
