"""JSON Schema of a job for editors, made from the model; `python -m opeva_specs.schema` writes the packaged file."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from opeva_specs.model import SimulationJob

FILE = "simulationjob.schema.json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _ForEditors(GenerateJsonSchema):
    """Fields go by the names that users write, and an optional field is left out rather than null."""

    def get_title_from_name(self, name: str) -> str:
        return name

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default") is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)


def job_schema() -> dict[str, Any]:
    """The schema as a mapping; it takes no spec that lacks a field, has an unknown one, or two configs."""
    schema = SimulationJob.model_json_schema(schema_generator=_ForEditors)
    schema["$defs"]["JobSpec"] |= {
        "not": {"required": ["config", "configPath"]},
        "anyOf": [{"required": [field]} for field in ("configPath", "config", "args")],
    }
    return {"$schema": DIALECT, **schema}


def as_text(schema: dict[str, Any]) -> str:
    """The schema as it stands in the file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def schema_text() -> str:
    """The packaged file, to be served as it is."""
    return resources.files("opeva_specs").joinpath(FILE).read_text(encoding="utf-8")


if __name__ == "__main__":
    Path(__file__).with_name(FILE).write_text(as_text(job_schema()), encoding="utf-8")
