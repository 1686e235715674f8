"""What makes a run a different run, and digests that no later version may change."""

import json
from pathlib import Path

import pytest

from opeva_specs.digest import DIGESTED
from opeva_specs.model import JobSpec
from opeva_specs.parse import parse

GOLDEN = json.loads(Path(__file__).with_name("digests.golden.json").read_text(encoding="utf-8"))
HEAD = "apiVersion: opeva.io/v1\nkind: SimulationJob\nmetadata: {name: a}\nspec:\n"
BASE = "  image: busybox\n  args: [a, b]\n  config: {x: {y: 1}, z: [1, 2]}\n  env: {A: '1', B: '2'}\n"


def digest_of(spec: str, head: str = HEAD) -> str:
    [document] = parse((head + spec).encode())
    return document.digest


@pytest.mark.parametrize("name", GOLDEN)
def test_a_known_spec_keeps_its_digest_for_ever(name: str) -> None:
    """A difference here would run every finished job of that kind once more: mend the code, never the file."""
    assert digest_of(GOLDEN[name]["spec"]) == GOLDEN[name]["digest"]


def test_the_known_digests_are_all_different_and_name_every_digested_field() -> None:
    assert len({entry["digest"] for entry in GOLDEN.values()}) == len(GOLDEN) >= 15
    written = {
        field
        for entry in GOLDEN.values()
        for field in parse((HEAD + entry["spec"]).encode())[0].job.spec.model_fields_set
    }
    assert set(DIGESTED) <= written


def test_the_fields_that_make_a_run_are_these() -> None:
    assert DIGESTED == (
        *("image", "command", "args", "env", "config", "config_path"),
        *("resources", "target_host", "network", "rerun"),
    )
    others = {
        *("image_pull_policy", "termination_grace_period_seconds", "submitted_by", "priority", "suspend", "keep"),
        *("active_deadline_seconds", "stall_seconds", "backoff_limit", "retry_on", "fail_on"),
        *("ttl_seconds_after_finished", "ttl_seconds_after_failed"),
    }
    assert set(JobSpec.model_fields) == set(DIGESTED) | others


@pytest.mark.parametrize(
    "same",
    [
        pytest.param(BASE.replace("busybox", "'busybox'  # why"), id="quotes and comments"),
        pytest.param("".join(reversed(BASE.splitlines(keepends=True))), id="order of fields"),
        pytest.param(BASE.replace("{x: {y: 1}, z: [1, 2]}", "{z: [1, 2], x: {y: 1}}"), id="order of keys in config"),
        pytest.param(BASE.replace("{A: '1', B: '2'}", "{B: '2', A: '1'}"), id="order of env"),
        pytest.param(BASE.replace("[a, b]", "\n  - a\n  - b"), id="block style"),
        pytest.param(BASE + "  imagePullPolicy: Always\n", id="pull policy"),
        pytest.param(BASE + "  terminationGracePeriodSeconds: 5\n", id="grace"),
        pytest.param(BASE + "  submittedBy: ana\n", id="who asked"),
        pytest.param(BASE + "  network:\n  resources:\n", id="fields left empty"),
    ],
)
def test_what_does_not_matter_to_the_run_leaves_the_digest(same: str) -> None:
    assert digest_of(same) == digest_of(BASE)


def test_name_labels_and_annotations_leave_the_digest() -> None:
    other = HEAD.replace("{name: a}", "{name: b, labels: {a: b}, annotations: {c: d}}")
    assert digest_of(BASE, other) == digest_of(BASE)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(BASE.replace("busybox", "busybox:latest"), id="image"),
        pytest.param(BASE.replace("  image: busybox\n", ""), id="no image"),
        pytest.param(BASE.replace("[a, b]", "[b, a]"), id="order of arguments"),
        pytest.param(BASE.replace("[a, b]", "[a b]"), id="one argument of two words"),
        pytest.param(BASE.replace("y: 1", "y: '1'"), id="text for a number"),
        pytest.param(BASE.replace("y: 1", "y: 1.0"), id="a point"),
        pytest.param(BASE.replace("y: 1", "y: true"), id="truth for one"),
        pytest.param(BASE.replace("y: 1", "y: null"), id="nothing for a value"),
        pytest.param(BASE.replace("{y: 1}", "{}"), id="no value in config"),
        pytest.param(BASE.replace("[1, 2]", "[2, 1]"), id="order of a list in config"),
        pytest.param(BASE.replace("'2'", "'3'"), id="env"),
        pytest.param(BASE.replace("config: {x: {y: 1}, z: [1, 2]}", "configPath: a.yaml"), id="config path"),
        pytest.param(BASE + "  command: [sh]\n", id="command"),
        pytest.param(BASE + "  resources: {cpu: 1}\n", id="resources"),
        pytest.param(BASE + "  targetHost: local\n", id="host"),
        pytest.param(BASE + "  network: lab\n", id="network"),
        pytest.param(BASE + "  rerun: 1\n", id="rerun"),
        pytest.param(BASE + "  rerun: 0\n", id="a default written out"),
    ],
)
def test_what_matters_to_the_run_changes_the_digest(changed: str) -> None:
    assert digest_of(changed) != digest_of(BASE)


def test_a_digest_is_64_hex_digits() -> None:
    assert len(digest_of(BASE)) == 64
    assert int(digest_of(BASE), 16) > 0
