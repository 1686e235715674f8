"""The tables of the reference pages, made from the model; `python -m opeva_specs.reference DOCS` puts them there."""

import json
import sys
from html import escape
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from opeva_specs.digest import DIGESTED
from opeva_specs.model import JobSpec, Metadata, Resources, SimulationJob
from opeva_specs.schema import job_schema
from opeva_specs.settings import variables

MODELS: list[type[BaseModel]] = [SimulationJob, Metadata, JobSpec, Resources]


def table(heads: list[str], rows: list[list[str]]) -> str:
    """Rows of cells as a table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def code(text: str) -> str:
    """A word as code, unless it is empty."""
    return f"`{text}`" if text else ""


def settings_table() -> str:
    """Every variable of the settings."""
    return table(
        ["variable", "default", "meaning"],
        [[code(name), code(default), escape(meaning, quote=False)] for name, default, meaning in variables()],
    )


_TYPES = {"string": "text", "boolean": "true or false", "array": "list of text", "object": "mapping"}


def type_of(about: dict[str, Any]) -> str:
    """The type of a field in a word, from its JSON Schema."""
    match about:
        case {"const": word}:
            return f"`{word}`"
        case {"enum": words}:
            return ", ".join(f"`{word}`" for word in words)
        case {"anyOf": _}:
            return "quantity"
        case {"type": "integer", "minimum": low, "maximum": high}:
            return f"whole number, {low} to {high}"
        case {"items": {"type": "integer"}}:
            return "list of numbers"
        case {"additionalProperties": {"type": "string"}}:
            return "mapping of text"
        case _:
            return _TYPES[about.get("type", "object")]


def default_of(model: type[BaseModel], field: str) -> str:
    """What a field is when nobody writes it."""
    info = model.model_fields[field]
    if info.is_required():
        return "required"
    return "" if info.default_factory or info.default is None else code(json.dumps(info.default).strip('"'))


def fields_table(model: type[BaseModel]) -> str:
    """Every field of a part of the language."""
    schema = job_schema()
    properties = schema["$defs"].get(model.__name__, schema)["properties"]
    rows = []
    for field, info in model.model_fields.items():
        about = properties[info.alias or field]
        meaning = about.get("description") or schema["$defs"][about["$ref"].rpartition("/")[2]]["description"]
        cells = [code(info.alias or field), type_of(about), default_of(model, field), escape(meaning, quote=False)]
        rows.append([*cells, "yes" if field in DIGESTED else ""] if model is JobSpec else cells)
    heads = ["field", "type", "default", "meaning"]
    return table([*heads, "new run"] if model is JobSpec else heads, rows)


def put(page: str, made: str) -> str:
    """The page with that table in the place of the one that has the same first row."""
    head, first = made.split("\n", 2)[0], made.split("\n", 3)[2].split("|")[1]
    lines = page.splitlines(keepends=True)
    starts = (n for n, line in enumerate(lines) if line.strip() == head and lines[n + 2].split("|")[1] == first)
    start = next(starts)
    end = next((n for n in range(start, len(lines)) if not lines[n].startswith("|")), len(lines))
    return "".join((*lines[:start], made, *lines[end:]))


if __name__ == "__main__":
    docs = Path(sys.argv[1])
    for name, tables in (("settings.md", [settings_table()]), ("spec.md", [fields_table(model) for model in MODELS])):
        text = (docs / name).read_text(encoding="utf-8")
        for made in tables:
            text = put(text, made)
        (docs / name).write_text(text, encoding="utf-8")
