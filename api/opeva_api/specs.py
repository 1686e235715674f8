"""Endpoints of the spec language: check a text, fetch the schema."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response

from opeva_api.body import read_body
from opeva_api.services import Api, Json
from opeva_specs.parse import SpecInvalid, parse
from opeva_specs.schema import schema_text

router = APIRouter(tags=["specs"])

EITHER = {"application/yaml": {"schema": {"type": "string"}}, "application/json": {"schema": {"type": "object"}}}


@router.post("/specs/validate", openapi_extra={"requestBody": {"required": True, "content": EITHER}})
async def validate(api: Api, request: Request) -> Response:
    """Check a spec file as the operator would; nothing is written."""
    data = await read_body(request, ("yaml", "json", "x-yaml"))
    return Json(await api.reading(_verdict, data))


@router.get("/schema/simulationjob.json")
async def schema() -> Response:
    """JSON Schema of a job."""
    return Response(schema_text(), media_type="application/schema+json", headers={"Cache-Control": "max-age=300"})


def _verdict(data: bytes) -> dict[str, Any]:
    try:
        documents = parse(data)
    except SpecInvalid as error:
        return {"valid": False, "jobs": [], "errors": [asdict(found) for found in error.errors]}
    jobs = [{"name": document.job.metadata.name, "digest": document.digest} for document in documents]
    return {"valid": True, "jobs": jobs, "errors": []}
