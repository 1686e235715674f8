"""Every error is `{"detail": "<sentence>"}`, whatever went wrong and wherever."""

import errno
import logging

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from opeva_api.configfiles import BadConfig
from opeva_api.services import Json

logger = logging.getLogger(__name__)

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_NOT_OURS = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


def failure(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """The answer that tells of an error."""
    return Json({"detail": detail}, status, headers=headers)


def add_handlers(app: FastAPI) -> None:
    """Make the application tell of all its errors in one way."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(BadConfig, _bad_config)
    app.add_exception_handler(OSError, _storage)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = error.detail if isinstance(error.detail, str) else str(error.detail)
    if error.status_code == 404 and detail == "Not Found":
        detail = f"there is nothing at {request.url.path[:200]!r}: see /docs"
    if error.status_code == 405:
        detail = f"{request.method} is not possible at {request.url.path[:200]!r}: see /docs"
    return failure(error.status_code, detail, dict(error.headers or {}))


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "the request"
    message = first["msg"].removeprefix("Value error, ")
    return failure(422, f"cannot use {where}: {message[:1].lower()}{message[1:]}")


async def _bad_config(_: Request, error: Exception) -> Response:
    assert isinstance(error, BadConfig)
    return failure(error.status, str(error))


async def _storage(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    logger.error("%s %s: %s", request.method, request.url.path, error)
    if error.errno in _NO_ROOM:
        return failure(507, "the shared volume is full: nothing was accepted")
    if error.errno in _NOT_OURS:
        return failure(503, "this service may not write to the shared volume: nothing was accepted")
    return failure(503, f"the shared volume cannot be used now: {error.strerror or error}")
