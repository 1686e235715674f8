"""The pure parts of the API: mended JSON, YAML that means what was sent, links, small memories."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from opeva_api.logfiles import Cleaner
from opeva_api.mlflow import is_public, run_url
from opeva_api.recent import Recent
from opeva_api.record import so_far
from opeva_api.sanitise import MAX_DEPTH, dumps, loads_lenient, sanitised
from opeva_api.spectext import NotWritable, write_spec
from opeva_specs.parse import SpecInvalid

NOW = datetime(2026, 1, 31, tzinfo=UTC)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
# Words that one YAML version or another reads as something else than text.
TRAPS = st.sampled_from(
    (
        *("no", "on", "y", "N", "~", "null", "1e5", "0o17", "017", "1_000", "12:30:45", "2024-01-01", ".inf", ".nan"),
        *("0x1F", "0b1", "1.", ".5", "+1", "-", "---", "=", "<<", "", " ", "- a", "a: b", "#x", "a #b", "a\n b\n"),
        *("*a", "&a", "!a", "%a", "@a", "`a", "'", '"', "|", ">", "\t", "\n", "a\n", "\na", "a\n\n", "é", "😀"),
        *("\ufeff", "\x85", "\u2028", "\x07"),
    )
)
CONFIGS = st.dictionaries(
    st.text(max_size=6) | TRAPS,
    st.recursive(
        TRAPS | st.text(max_size=8) | st.none() | st.booleans() | st.integers(-(10**17), 10**17)
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TRAPS, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=5,
)  # fmt: skip


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    return [leaf for item in value for leaf in leaves(item)] if isinstance(value, list) else [value]


@given(ANYTHING)
def test_whatever_a_job_writes_becomes_strict_json_without_null(value: Any) -> None:
    text = dumps(sanitised({"result": value, "list": [value]})).decode()
    told = json.loads(text, parse_constant=lambda word: pytest.fail(word))
    assert None not in leaves(told)


@given(ANYTHING)
def test_every_value_can_be_encoded(value: Any) -> None:
    json.loads(dumps({"a": value}), parse_constant=lambda word: pytest.fail(word))


def test_a_value_nested_too_deep_is_cut_not_fatal() -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH * 3):
        value = [value]
    assert b"nested too deep" in dumps(sanitised(value))
    with pytest.raises(ValueError, match="too deep"):
        loads_lenient(b"[" * 100_000)


def test_good_values_are_left_as_they_are() -> None:
    value = {"a": [1, 0.5, True, "x", {"b": []}], "c": {}}
    assert sanitised(value) == value


# -- YAML ------------------------------------------------------------------------------------------------------------


def spec(config: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "opeva.io/v1",
        "kind": "SimulationJob",
        "metadata": {"name": "a", "annotations": {}},
        "spec": {"config": config},
    }


@settings(max_examples=300)
@given(CONFIGS)
def test_a_config_means_the_same_after_it_was_written(config: dict[str, Any]) -> None:
    try:
        data, document = write_spec(spec(config), "ann", NOW)
    except (NotWritable, SpecInvalid):
        return
    assert repr(document.job.spec.config) == repr(config)
    assert repr(yaml.safe_load(data)["spec"]["config"]) == repr(config)


@given(st.dictionaries(TRAPS.filter(str.isprintable), TRAPS.filter(str.isprintable), min_size=1))
def test_printable_text_can_always_be_written(config: dict[str, str]) -> None:
    assert write_spec(spec(config), "ann", NOW)[1].job.spec.config == config


def test_who_asked_cannot_write_lines_into_the_spec() -> None:
    data, _ = write_spec(spec({}), "eve\nkind: Other\r\x85\u2028x", NOW)
    assert data.splitlines()[1] == b"apiVersion: opeva.io/v1"
    assert len(data.decode().split("apiVersion")[0].splitlines()) == 1


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"a": {"b": [10**18]}}, r"spec.config.a.b\[0\]: a whole number may have 18 digits"),
        ({"a": float("nan")}, "spec.config.a: is no finite number"),
        ({"a": float("-inf")}, "is no finite number"),
        ({"\udc00": 1}, "half of a Unicode character"),
    ],
)
def test_what_yaml_cannot_hold_is_refused_with_its_place(config: dict[str, Any], words: str) -> None:
    with pytest.raises(NotWritable, match=words):
        write_spec(spec(config), "ann", NOW)


# -- the rest --------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=5))
def test_cleaned_bytes_are_utf_8_of_the_same_length_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    cleaner, pieces, start = Cleaner(), [], 0
    for cut in sorted(cuts):
        pieces.append(cleaner.clean(data[start:cut]))
        pieces[-1].decode()
        start = max(start, cut)
    pieces.append(cleaner.clean(data[start:], is_last=True))
    whole = b"".join(pieces)
    whole.decode()
    assert len(whole) == len(data)
    assert whole == Cleaner().clean(data, is_last=True)


@pytest.mark.parametrize(
    "url", ["http://[::1]:5000", "http://[bad", "ftp://x.org", "http://", "http://192.168.1.2/", "https://mlflow/x"]
)
def test_an_address_that_others_cannot_reach_is_not_public(url: str) -> None:
    assert not is_public(url)


def test_no_link_rather_than_a_dead_one() -> None:
    known = {"mlflow_run_id": "r", "mlflow_experiment_id": 0}
    assert run_url(known, "https://m.org/ml/") == "https://m.org/ml/#/experiments/0/runs/r"
    assert run_url({"mlflow_run_id": "r"}, "https://m.org") is None
    assert run_url(known | {"mlflow_experiment_id": "a/b"}, "https://m.org") is None
    assert run_url({"mlflow_run_url": "https://other.org/x"}, "https://m.org") is None


def test_a_small_memory_forgets_what_was_not_used() -> None:
    memory: Recent[str, int] = Recent(2)
    memory.keep("a", 1)
    memory.keep("b", 2)
    memory.get("a")
    memory.keep("c", 3)
    assert (memory.get("a"), memory.get("b"), memory.get("c")) == (1, None, 3)


def test_durations_of_a_job_that_goes_on_grow_and_those_of_an_ended_one_stand_still() -> None:
    told = {"status": "running", "submitted_at": 10.0, "queued_at": 20.0, "started_at": 30.0}
    assert so_far(told, 40.0) == {"run_duration_seconds": 10.0, "total_duration_seconds": 30.0}
    queued = told | {"status": "queued", "started_at": None}
    assert so_far(queued, 40.0)["queue_wait_seconds"] == 20.0
    assert so_far(told | {"status": "finished"}, 40.0) == {}
