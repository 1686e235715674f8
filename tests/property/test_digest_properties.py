"""The digest follows what the job runs, and nothing about how, where or when it was written."""

import json
import random
from typing import Any

import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from opeva_specs.digest import DIGESTED, digest
from opeva_specs.model import JobSpec, SimulationJob
from opeva_specs.parse import Document, parse

# What both YAML and JSON can carry unescaped and unchanged.
text = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\ufeff\ufffe\uffff"), max_size=12
)
word = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
leaf = (
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.floats(-1e9, 1e9).map(lambda x: round(x, 3)) | text
)
tree = st.recursive(
    leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=10
)

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "image": word,
    "command": st.lists(text, max_size=3),
    "env": st.dictionaries(word, text, max_size=4),
    "config": st.dictionaries(text, tree, max_size=4),
    "resources": st.fixed_dictionaries(
        {}, optional={"cpu": st.sampled_from(["1", "500m"]), "memory": st.just("4Gi"), "gpu": st.integers(1, 64)}
    ),
    "targetHost": st.just("local"),
    "network": word,
    "rerun": st.integers(0, 5),
}
OTHERS: dict[str, st.SearchStrategy[Any]] = {
    "imagePullPolicy": st.sampled_from(["Always", "IfNotPresent", "Never"]),
    "terminationGracePeriodSeconds": st.integers(0, 100),
    "submittedBy": word,
    "priority": st.integers(-1000, 1000),
    "suspend": st.booleans(),
    "activeDeadlineSeconds": st.integers(1, 10**6),
    "stallSeconds": st.integers(1, 10**6),
    "backoffLimit": st.integers(0, 100),
    "retryOn": st.lists(st.integers(1, 100), max_size=3),
    "failOn": st.lists(st.integers(101, 255), max_size=3),
    "ttlSecondsAfterFinished": st.integers(0, 10**6),
    "ttlSecondsAfterFailed": st.integers(0, 10**6),
    "keep": st.booleans(),
}
digested = st.fixed_dictionaries({"args": st.lists(text, max_size=3)}, optional=FIELDS)
others = st.fixed_dictionaries({}, optional=OTHERS)


def job(spec: dict[str, Any], metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "opeva.io/v1",
        "kind": "SimulationJob",
        "metadata": {"name": "a"} | (metadata or {}),
        "spec": spec,
    }


class Quoting(yaml.SafeDumper):
    """Puts all text in quotes: PyYAML leaves out those of `1e5`, a number to newer readers."""


Quoting.add_representer(str, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"'))


def as_yaml(written: dict[str, Any], *, flow: bool = False) -> str:
    return yaml.dump(written, Dumper=Quoting, default_flow_style=flow, allow_unicode=True)


def one(data: str) -> Document:
    [document] = parse(data.encode())
    return document


def shuffled(value: Any, chance: random.Random) -> Any:
    match value:
        case dict():
            keys = chance.sample(list(value), len(value))
            return {key: shuffled(value[key], chance) for key in keys}
        case list():
            return [shuffled(item, chance) for item in value]
        case _:
            return value


@given(digested, others)
def test_yaml_and_json_of_one_job_are_one_job(spec: dict[str, Any], more: dict[str, Any]) -> None:
    written = job(spec | more)
    as_json = one(json.dumps(written))
    block = one(as_yaml(written))
    flow = one(as_yaml(written, flow=True))
    spaced = one(json.dumps(written, indent=3, ensure_ascii=False))
    assert as_json.job == block.job == flow.job == spaced.job
    assert as_json.digest == block.digest == flow.digest == spaced.digest


@given(digested, st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(spec: dict[str, Any], chance: random.Random) -> None:
    written = job(spec)
    assert one(json.dumps(shuffled(written, chance))).digest == one(json.dumps(written)).digest


@given(digested, text)
def test_comments_and_blank_lines_do_not_matter(spec: dict[str, Any], comment: str) -> None:
    lines = as_yaml(job({"args": spec["args"]})).split("\n")[:-1]
    commented = f"# {comment}\n\n" + f"\n# {comment}\n".join(lines) + f"  # {comment}\n"
    assert one(commented).digest == one("\n".join(lines) + "\n").digest


@given(digested, others, others, st.dictionaries(word, word, max_size=2))
def test_what_is_no_part_of_the_run_does_not_matter(
    spec: dict[str, Any], before: dict[str, Any], after: dict[str, Any], notes: dict[str, str]
) -> None:
    other = job(spec | after, {"name": "b", "labels": notes, "annotations": notes})
    assert one(json.dumps(job(spec | before))).digest == one(json.dumps(other)).digest


@given(digested, digested)
def test_two_digests_are_equal_exactly_when_the_runs_are(first: dict[str, Any], second: dict[str, Any]) -> None:
    is_same = json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    assert (one(json.dumps(job(first))).digest == one(json.dumps(job(second))).digest) is is_same


@given(digested, st.sampled_from(sorted(FIELDS)), st.data())
def test_each_field_of_the_run_changes_the_digest(spec: dict[str, Any], field: str, data: st.DataObject) -> None:
    value = data.draw(FIELDS[field])
    assume(field not in spec or json.dumps(spec[field], sort_keys=True) != json.dumps(value, sort_keys=True))
    assert one(json.dumps(job(spec | {field: value}))).digest != one(json.dumps(job(spec))).digest


@given(digested, others)
def test_a_job_that_is_stored_and_read_again_keeps_its_digest(spec: dict[str, Any], more: dict[str, Any]) -> None:
    found = one(json.dumps(job(spec | more)))
    stored = found.job.model_dump_json(by_alias=True, exclude_unset=True)
    assert SimulationJob.model_validate_json(stored) == found.job
    assert digest(SimulationJob.model_validate_json(stored).spec) == found.digest == digest(found.job.spec)


def test_the_properties_reach_every_field_of_the_model() -> None:
    by_name = {info.alias or name: name for name, info in JobSpec.model_fields.items()}
    assert {by_name[field] for field in FIELDS} | {"args", "config_path"} == set(DIGESTED)
    assert {by_name[field] for field in (*FIELDS, *OTHERS)} | {"args", "config_path"} == set(JobSpec.model_fields)
