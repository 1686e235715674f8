"""Bodies of requests: JSON objects of bounded size, or a sentence that says what is wrong."""

import json
from collections import Counter
from typing import Any, NoReturn

from fastapi import HTTPException, Request
from pydantic import BaseModel

MAX_BODY_BYTES = 2**20 + 64 * 1024  # a config of 1 MiB, and what is around it


async def read_body(request: Request, types: tuple[str, ...] = ("json",)) -> bytes:
    """The bytes of a body of one of these content types; raises 415, 413 or 400."""
    found = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if not any(found in (f"application/{kind}", f"text/{kind}") or found.endswith(f"+{kind}") for kind in types):
        wanted = " or ".join(f"application/{kind}" for kind in types)
        raise HTTPException(415, f"cannot read a body of type {found[:60] or 'unknown'!r}: send {wanted}")
    return await _bounded(request)


async def _bounded(request: Request) -> bytes:
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
        raise _too_large()
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY_BYTES:
            raise _too_large()
    return bytes(data)


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object of a body; raises 415, 413 or 400."""
    return as_object(await read_body(request))


async def read_optional_object(request: Request) -> dict[str, Any]:
    """The JSON object of a body, an empty one where there is no body at all."""
    has_length = request.headers.get("content-length", "0") not in ("", "0")
    if not has_length and "transfer-encoding" not in request.headers:
        return {}
    return await read_object(request)


def as_object(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`, read strictly; raises 400."""
    try:
        found = json.loads(data, parse_constant=_no_number, object_pairs_hook=_without_twins)
    except RecursionError as error:
        raise HTTPException(400, "the body is nested too deep") from error
    except ValueError as error:
        raise HTTPException(400, f"cannot read the body as JSON: {str(error)[:200]}") from error
    if not isinstance(found, dict):
        raise HTTPException(400, "the body must be a JSON object")
    return found


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twin = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {twin[:80]!r} stands there twice")
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number that JSON knows")


def _too_large() -> HTTPException:
    return HTTPException(413, f"the body is larger than {MAX_BODY_BYTES} bytes: store the config as a file instead")


def described(model: type[BaseModel]) -> dict[str, Any]:
    """What the API's description says of a body that we read ourselves."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
