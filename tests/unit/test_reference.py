"""The tables of the reference pages are what the code says; `make reference` puts them there."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from opeva_specs.parse import parse
from opeva_specs.reference import MODELS, fields_table, settings_table
from opeva_specs.yamltree import MAX_BYTES, MAX_DEPTH, MAX_NODES

DOCS = Path(__file__).parents[2] / "docs"


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
