"""A job as the text of a spec file, proven to mean the same."""

import math
from datetime import datetime
from typing import Any

from opeva_specs.parse import Document, SpecInvalid, parse
from opeva_specs.status import rfc3339
from opeva_specs.yamltext import dump

_LARGEST = 10**18


class NotWritable(ValueError):
    """The values cannot be written as YAML without changing what they mean; says which, and why."""


def write_spec(spec: dict[str, Any], by: str, at: datetime) -> tuple[bytes, Document]:
    """The bytes of a spec file and what they mean, proven to mean the same; raises NotWritable or SpecInvalid."""
    check_values(spec, "")
    who = "".join(c for c in by if c.isprintable())[:200]
    text = f"# Submitted over the REST API by {who} at {rfc3339(at)}.\n{dump(spec)}"
    data = text.encode("utf-8")
    documents = parse(data)
    found = documents[0].job.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if len(documents) != 1 or not _is_same(found, spec):
        raise NotWritable("the config holds values that YAML cannot keep as they are: store it as a file instead")
    return data, documents[0]


def check_values(value: Any, path: str) -> None:
    """Raise NotWritable at the first value that JSON may hold and a config may not."""
    match value:
        case dict():
            for key, item in value.items():
                _check_text(key, path)
                check_values(item, f"{path}.{key[:60]}" if path else key[:60])
        case list():
            for i, item in enumerate(value):
                check_values(item, f"{path}[{i}]")
        case str():
            _check_text(value, path)
        case int() | float():
            _check_number(value, path)
        case _:  # true, false, null
            return


def _check_number(value: float, path: str) -> None:
    if isinstance(value, int) and abs(value) >= _LARGEST:
        raise NotWritable(f"{path}: a whole number may have 18 digits: put it in quotes")
    if isinstance(value, float) and not math.isfinite(value):
        raise NotWritable(f"{path}: is no finite number: leave it out or write it as text")


def _check_text(text: str, path: str) -> None:
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise NotWritable(f"{path or 'the body'}: holds half of a Unicode character: remove it")


def _is_same(found: Any, wanted: Any) -> bool:
    if type(found) is not type(wanted):
        return False
    match wanted:
        case dict():
            return found.keys() == wanted.keys() and all(_is_same(found[key], wanted[key]) for key in wanted)
        case list():
            return len(found) == len(wanted) and all(map(_is_same, found, wanted))
        case _:
            return bool(found == wanted)


__all__ = ["NotWritable", "SpecInvalid", "check_values", "dump", "write_spec"]
