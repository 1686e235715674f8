"""The tables of the reference pages are what the code says; a failure shows the table to put in."""

import re
from html import escape
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from opeva_specs.digest import DIGESTED
from opeva_specs.model import JobSpec, Metadata, Resources, SimulationJob
from opeva_specs.parse import parse
from opeva_specs.schema import job_schema
from opeva_specs.settings import variables
from opeva_specs.yamltree import MAX_BYTES, MAX_DEPTH, MAX_NODES

DOCS = Path(__file__).parents[2] / "docs"
MODELS: list[type[BaseModel]] = [SimulationJob, Metadata, JobSpec, Resources]


def table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def settings_table() -> str:
    return table(
        ["variable", "default", "meaning"],
        [[code(name), code(default), escape(meaning, quote=False)] for name, default, meaning in variables()],
    )


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
        case {"type": "string"}:
            return "text"
        case {"type": "array"}:
            return "list of text"
        case {"type": "object", "additionalProperties": {"type": "string"}}:
            return "mapping of text"
        case _:
            return "mapping"


def default_of(model: type[BaseModel], field: str) -> str:
    info = model.model_fields[field]
    if info.is_required():
        return "required"
    return "" if info.default_factory or info.default is None else code(str(info.default))


def fields_table(model: type[BaseModel]) -> str:
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


def test_the_page_of_settings_lists_every_variable_as_it_is() -> None:
    assert settings_table() in (DOCS / "settings.md").read_text()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_the_page_of_specs_lists_every_field_as_it_is(model: type[BaseModel]) -> None:
    assert fields_table(model) in (DOCS / "spec.md").read_text()


def test_the_page_of_specs_tells_the_limits_as_they_are() -> None:
    page = (DOCS / "spec.md").read_text()
    assert MAX_BYTES % 1024 == 0
    assert all(words in page for words in (f"{MAX_BYTES // 1024} KiB", f"{MAX_NODES:,} values", f"{MAX_DEPTH} levels"))


def test_every_spec_on_the_page_is_a_good_one() -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", (DOCS / "spec.md").read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    assert [len(parse(block.encode())) for block in blocks] == [1] * len(blocks)


def test_the_words_that_need_quotes_are_told_rightly() -> None:
    page = (DOCS / "spec.md").read_text()
    [line] = re.findall(r"^These need quotes there: (.+)\.$", page, re.MULTILINE)
    words = re.findall(r"`([^`]+)`", line)
    assert len(words) > 8
    head = "apiVersion: opeva.io/v1\nkind: SimulationJob\nmetadata: {name: a}\nspec:\n  config:\n    a: "
    for word in words:
        with pytest.raises(ValueError, match="put it in quotes"):
            parse(f"{head}{word}\n".encode())
        assert parse(f"{head}'{word}'\n".encode())
