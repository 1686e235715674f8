"""Values that any JSON reader can take: no null, no NaN, nothing that strict encoding refuses."""

import json
import math
from typing import Any

import orjson

MAX_DEPTH = 100
_MISSING = object()
_NO_NUMBERS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def loads_lenient(data: bytes) -> Any:
    """What a job wrote as JSON, NaN and all; raises ValueError when it is torn or no JSON."""
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("is nested too deep") from error


def sanitised(value: Any) -> Any:
    """The value without nulls and NaN: such cells of an object are left out, those of a list become words."""
    clean = _clean(value, 0)
    return {} if clean is _MISSING else clean


def dumps(value: Any) -> bytes:
    """Strict JSON; numbers that are none become null, text that is no Unicode is mended."""
    try:
        return orjson.dumps(value)
    except TypeError:  # a whole number beyond 64 bits, or half a surrogate pair
        return orjson.dumps(_clean(value, 0))


def _clean(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        return "(nested too deep)"
    match value:
        case dict():
            cells = ((_text(str(key)), _clean(item, depth + 1)) for key, item in value.items())
            return {key: item for key, item in cells if item is not _MISSING}
        case list() | tuple():
            return [_worded(item, depth + 1) for item in value]
        case _:
            return _scalar(value)


def _scalar(value: Any) -> Any:
    match value:
        case str():
            return _text(value)
        case bool():
            return value
        case int():
            return value if -(2**63) <= value < 2**63 else str(value)[:400] if abs(value) < 10**400 else "(too large)"
        case float():
            return value if math.isfinite(value) else _MISSING
        case _:
            return _MISSING


def _worded(item: Any, depth: int) -> Any:
    clean = _clean(item, depth)
    if clean is not _MISSING:
        return clean
    return _NO_NUMBERS.get(str(item), "null")


def _text(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
