"""Endpoints of experiment configs, in the shapes of both web clients."""

from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, Field

from opeva_api.body import described, read_object
from opeva_api.configfiles import as_bytes, as_values, checked_bytes, checked_name
from opeva_api.services import Api, Json, Services

router = APIRouter(tags=["configs"])


class ConfigBody(BaseModel):
    """A config to store: as values or as text."""

    file_name: str | None = Field(None, description="Its name, when it is created.")
    config: dict[str, Any] | None = Field(None, description="The config as values.")
    yaml_content: str | None = Field(None, description="The config as YAML.")


def wants_text(request: Request) -> bool:
    """Whether it is the newer web client that asks: it alone names a content type on GET."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower() == "application/json"


@router.get("/experiment-configs")
async def names(api: Api) -> Response:
    """Names of all configs."""
    return Json(await api.reading(api.configs.names))


@router.get("/experiment-config/{file}")
async def read(api: Api, request: Request, file: str) -> Response:
    """One config: the file as it is for the newer client, its values for others."""
    name = checked_name(file)
    if wants_text(request):
        data = await api.reading(api.configs.read, name)
        return Response(data, media_type="text/yaml; charset=utf-8", headers={"Vary": "Content-Type"})
    return Json({"config": await api.reading(_values, api, name)}, headers={"Vary": "Content-Type"})


@router.post("/experiment-config/create", openapi_extra=described(ConfigBody))
async def create(api: Api, request: Request) -> Response:
    """Store a new config."""
    body = await read_object(request)
    name = checked_name(body.get("file_name"))
    await api.writing(_create, api, name, body)
    return Json({"message": "Config created", "file": name})


@router.put("/experiment-config/{file}", openapi_extra=described(ConfigBody))
async def replace(api: Api, request: Request, file: str) -> Response:
    """Replace a config."""
    name = checked_name(file)
    body = await read_object(request)
    await api.writing(_replace, api, name, body)
    return Json({"message": "Config updated", "file": name})


@router.delete("/experiment-config/{file}")
async def remove(api: Api, file: str) -> Response:
    """Remove a config; jobs that were accepted with it keep their copy."""
    name = checked_name(file)
    await api.writing(api.configs.remove, name)
    return Json({"message": "Config deleted", "file": name})


def _values(api: Services, name: str) -> Any:
    return as_values(api.configs.read(name), name)


def _create(api: Services, name: str, body: dict[str, Any]) -> None:
    api.configs.create(name, _content(body, name))


def _replace(api: Services, name: str, body: dict[str, Any]) -> None:
    api.configs.replace(name, _content(body, name))


def _content(body: dict[str, Any], name: str) -> bytes:
    config, text = body.get("config"), body.get("yaml_content")
    if (config is None) == (text is None):
        raise HTTPException(400, "send either config (an object) or yaml_content (text)")
    if text is None:
        return as_bytes(config, name)
    if not isinstance(text, str):
        raise HTTPException(400, "yaml_content must be text")
    try:
        return checked_bytes(text.encode())
    except UnicodeEncodeError as error:
        raise HTTPException(400, "yaml_content holds half of a Unicode character: remove it") from error
