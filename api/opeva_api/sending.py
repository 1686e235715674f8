"""Sending: files as attachments, in pieces, so that none is held in memory and no thread waits for a slow client."""

from collections.abc import AsyncIterator, Iterator
from urllib.parse import quote

from fastapi import Response
from fastapi.responses import StreamingResponse

from opeva_api import tree
from opeva_api.services import Services
from opeva_api.tree import Download


def attachment(api: Services, download: Download) -> Response:
    """A file of the volume, with its type and its name."""
    headers = headers_of(download.name) | {"Content-Length": str(download.size)}
    body = stepped(api, tree.pieces(api.volume, download))
    return StreamingResponse(body, headers=headers, media_type=download.media_type)


def headers_of(name: str) -> dict[str, str]:
    """What makes a browser save an answer under that name, and never show it as a page of ours."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else "_" for c in name)
    return {
        "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cache-Control": "no-store",
    }


async def stepped(api: Services, steps: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Each step of a blocking iterator, made off the event loop; empty ones are skipped."""
    end = object()
    while True:
        found = await api.reading(next, steps, end)
        if found is end:
            return
        if isinstance(found, bytes) and found:
            yield found
