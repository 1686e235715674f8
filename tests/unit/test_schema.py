"""The JSON Schema for editors agrees with the model, and every example satisfies both."""

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from opeva_specs.parse import SpecInvalid, parse
from opeva_specs.schema import DIALECT, as_text, job_schema, schema_text

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "specs").glob("*.y*ml"))
HINT = "# yaml-language-server: $schema="
GOOD: dict[str, Any] = {
    "apiVersion": "opeva.io/v1",
    "kind": "SimulationJob",
    "metadata": {"name": "a", "labels": {"team": "blue"}, "annotations": {"opeva.io/note": "any text at all"}},
    "spec": {
        "image": "registry.example:5000/group/name:tag",
        "imagePullPolicy": "Never",
        "config": {"a": {"b": [1, 2.5, None, True]}},
        "command": ["python"],
        "args": ["-v"],
        "env": {"A": "1"},
        "resources": {"cpu": 2, "memory": "4Gi", "gpu": 1},
        "targetHost": "local",
        "network": "lab",
        "terminationGracePeriodSeconds": 5,
        "rerun": 1,
        "submittedBy": "ana",
        "priority": -3,
        "suspend": True,
        "activeDeadlineSeconds": 60,
        "stallSeconds": 60,
        "backoffLimit": 3,
        "retryOn": [1],
        "failOn": [2],
        "ttlSecondsAfterFinished": 0,
        "ttlSecondsAfterFailed": 60,
        "keep": True,
    },
}


def is_taken_by_schema(spec: object) -> bool:
    return bool(jsonschema.Draft202012Validator(job_schema()).is_valid(spec))


def is_taken_by_parser(spec: object) -> bool:
    try:
        parse(json.dumps(spec).encode())
    except SpecInvalid:
        return False
    return True


def changed(path: str, value: object) -> dict[str, Any]:
    spec = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    place = spec
    for part in parents:
        place = place[part]
    place[last] = value
    return spec


def without(path: str) -> dict[str, Any]:
    spec = changed(path, None)
    *parents, last = path.split(".")
    place = spec
    for part in parents:
        place = place[part]
    del place[last]
    return spec


def test_the_packaged_file_is_what_the_model_says() -> None:
    assert schema_text() == as_text(job_schema())


def test_the_schema_is_itself_valid_in_the_dialect_it_names() -> None:
    assert job_schema()["$schema"] == DIALECT
    jsonschema.Draft202012Validator.check_schema(job_schema())


def test_every_field_says_what_it_is_for() -> None:
    schema = job_schema()
    objects = [schema["$defs"][name] for name in ("JobSpec", "Metadata", "Resources")]
    silent = [
        field
        for found in objects
        for field, about in found["properties"].items()
        if not about.get("description") or about.get("title", field) != field
    ]
    assert silent == []
    assert all(found["additionalProperties"] is False and found["description"] for found in [schema, *objects])


def test_a_spec_with_every_field_is_taken_by_both() -> None:
    assert is_taken_by_schema(GOOD)
    assert is_taken_by_parser(GOOD)
    assert set(GOOD["spec"]) | {"configPath"} == set(job_schema()["$defs"]["JobSpec"]["properties"])


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param([GOOD], id="a list"),
        pytest.param(without("apiVersion"), id="no apiVersion"),
        pytest.param(changed("apiVersion", "opeva.io/v2"), id="another version"),
        pytest.param(changed("kind", "Job"), id="another kind"),
        pytest.param(changed("status", {}), id="unknown field at the top"),
        pytest.param(without("metadata.name"), id="no name"),
        pytest.param(changed("metadata.name", "Upper"), id="name in upper case"),
        pytest.param(changed("metadata.name", "a" * 64), id="name too long"),
        pytest.param(changed("metadata.labels", {"team": "two words"}), id="label of two words"),
        pytest.param(changed("metadata.labels", {"-": "x"}), id="label key"),
        pytest.param(changed("metadata.annotations", {"a b": "x"}), id="annotation key"),
        pytest.param(changed("spec.imagee", "x"), id="unknown field in spec"),
        pytest.param(changed("spec.image", "Not An Image"), id="image"),
        pytest.param(changed("spec.imagePullPolicy", "Sometimes"), id="pull policy"),
        pytest.param(changed("spec.configPath", "a.yaml"), id="two configs"),
        pytest.param(changed("spec", {"image": "busybox"}), id="nothing to run with"),
        pytest.param(changed("spec", {"configPath": "/etc/passwd"}), id="absolute configPath"),
        pytest.param(changed("spec", {"configPath": "a//b"}), id="empty part in configPath"),
        pytest.param(changed("spec.config", []), id="config is a list"),
        pytest.param(changed("spec.command", "python"), id="command is text"),
        pytest.param(changed("spec.args", [1]), id="an argument is a number"),
        pytest.param(changed("spec.env", {"A": 1}), id="env value is a number"),
        pytest.param(changed("spec.env", {"1A": "x"}), id="env name"),
        pytest.param(changed("spec.resources", {"disk": 1}), id="unknown resource"),
        pytest.param(changed("spec.resources", {"cpu": "two"}), id="cpu in words"),
        pytest.param(changed("spec.resources", {"memory": "4GB"}), id="memory with an unknown unit"),
        pytest.param(changed("spec.targetHost", 1), id="host is a number"),
        pytest.param(changed("spec.terminationGracePeriodSeconds", -1), id="negative grace"),
        pytest.param(changed("spec.rerun", "1"), id="rerun is text"),
        pytest.param(changed("spec.submittedBy", "x" * 257), id="long submittedBy"),
    ],
)
def test_what_the_schema_refuses_the_parser_refuses_too(spec: object) -> None:
    assert not is_taken_by_schema(spec)
    assert not is_taken_by_parser(spec)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_taken_by_the_parser_and_by_the_schema(example: Path) -> None:
    documents = parse(example.read_bytes())
    found = [spec for spec in yaml.safe_load_all(example.read_text()) if spec is not None]
    assert len(documents) == len(found)
    assert [
        error.message for spec in found for error in jsonschema.Draft202012Validator(job_schema()).iter_errors(spec)
    ] == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_starts_with_the_hint_for_editors(example: Path) -> None:
    first = example.read_text().splitlines()[0]
    assert first.startswith(HINT)
    assert first.endswith("/simulationjob.schema.json")
