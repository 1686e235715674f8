"""The rules of single fields, and the quantities in them."""

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from opeva_specs.model import SimulationJob, config_file, cpu_to_nano, is_job_id, memory_to_bytes


def job(**spec: Any) -> SimulationJob:
    found = {
        "apiVersion": "opeva.io/v1",
        "kind": "SimulationJob",
        "metadata": {"name": "a"},
        "spec": {"args": []} | spec,
    }
    return SimulationJob.model_validate(found)


def labelled(**metadata: Any) -> SimulationJob:
    found = job().model_dump(by_alias=True, exclude_unset=True)
    found["metadata"] |= metadata
    return SimulationJob.model_validate(found)


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a" * 63, "7f3c1e0a-6a8e-4c0e-9a55-2f1f0b8d9c11"])
def test_a_dns_label_is_a_job_id(name: str) -> None:
    assert is_job_id(name)
    assert labelled(name=name).metadata.name == name


@pytest.mark.parametrize(
    "name",
    ["", "-a", "a-", "A", "a_b", "a.b", "a/b", "..", "a" * 64, "a\n", "a b", "ä", "a\x00", "%2e%2e", "١"],
)
def test_anything_else_is_none(name: str) -> None:
    assert not is_job_id(name)
    with pytest.raises(ValidationError):
        labelled(name=name)


@pytest.mark.parametrize(
    "image",
    [
        *("busybox", "calof/opeva_simulator:latest", "a/b/c", "localhost/x", "host:5000/a/b:t_1.2-x"),
        *("ghcr.io/o/i@sha256:" + "a" * 64, "x:1@sha256:" + "0" * 64, "a__b/c--d", "Registry.example/a", "1.2.3.4:5/a"),
    ],
)
def test_image_references_are_taken(image: str) -> None:
    assert job(image=image).spec.image == image


@pytest.mark.parametrize(
    "image",
    [
        *("", " ", "a b", "A", "a:", ":a", "a:b:c", "a//b", "/a", "a/", "-a", "a@sha256:12", "a@md5:" + "0" * 32),
        *("http://a/b", "a:" + "t" * 129, "a/" * 300 + "a", "a\n", "a;b", "../a", "--privileged", "a:\x00"),
    ],
)
def test_what_is_no_image_reference_is_refused(image: str) -> None:
    with pytest.raises(ValidationError):
        job(image=image)


@pytest.mark.parametrize(
    ("written", "file"),
    [
        ("a.yaml", "a.yaml"),
        ("configs/a.yaml", "a.yaml"),
        ("configs/b/a", "b/a"),
        ("a b.yaml", "a b.yaml"),
        ("~/a", "~/a"),
        ("configs", "configs"),
    ],
)
def test_a_config_path_is_the_same_with_and_without_its_folder(written: str, file: str) -> None:
    path = job(configPath=written).spec.config_path
    assert path is not None
    assert config_file(path) == file


@pytest.mark.parametrize(
    "path",
    [
        *("", "/etc/passwd", "..", "../a", "a/../b", "a/..", "./a", "a//b", "a/", "configs/", "configs//a"),
        *("configs/../../a", "..\\a", "a\\b", "a\x00b", "a\nb", "\u202ea", "a/" * 600 + "a", "x" * 256),
    ],
)
def test_a_config_path_that_may_lead_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        job(configPath=path)


@pytest.mark.parametrize(
    ("quantity", "nano"),
    [("2", 2 * 10**9), ("0.5", 5 * 10**8), ("500m", 5 * 10**8), ("1m", 10**6), ("0.001", 10**6), ("1500m", 15 * 10**8)],
)
def test_cpu_is_counted_in_billionths(quantity: str, nano: int) -> None:
    assert cpu_to_nano(quantity) == nano
    assert job(resources={"cpu": quantity}).spec.resources.cpu == quantity


@pytest.mark.parametrize(
    ("quantity", "size"),
    [
        *(("1", 1), ("512Mi", 512 * 2**20), ("4Gi", 4 * 2**30), ("2G", 2 * 10**9), ("1.5Gi", 3 * 2**29), ("1k", 1000)),
        *(("1Ki", 1024), ("0.5", 1), ("1P", 10**15), ("1Pi", 2**50), ("0.1k", 100)),
    ],
)
def test_memory_is_counted_in_bytes_and_never_rounded_to_no_limit(quantity: str, size: int) -> None:
    assert memory_to_bytes(quantity) == size
    assert job(resources={"memory": quantity}).spec.resources.memory == quantity


@pytest.mark.parametrize("field", ["cpu", "memory"])
def test_a_number_is_as_good_as_its_text(field: str) -> None:
    assert job(resources={field: 2}).spec.resources == job(resources={field: "2"}).spec.resources


@pytest.mark.parametrize(
    ("field", "quantity"),
    [
        *(
            ("cpu", bad)
            for bad in ("", "0", "0m", "0.0", "-1", "1.2345", "two", "1 ", "1n", "9" * 400, "1e3", "0.5m", "١")
        ),
        *(
            ("memory", bad)
            for bad in ("", "0", "0Mi", "-1", "4GB", "4gi", "1m", "4 Gi", "9" * 400, "1e9", "Gi", "infGi")
        ),
        *((field, bad) for field in ("cpu", "memory") for bad in (True, 0, -1, float("inf"), float("nan"), [1])),
    ],
)
def test_what_is_no_quantity_is_refused(field: str, quantity: object) -> None:
    with pytest.raises(ValidationError):
        job(resources={field: quantity})


def test_the_largest_quantities_can_be_counted() -> None:
    assert cpu_to_nano("999999.999") > 0
    assert memory_to_bytes("9" * 15 + "Pi") > 0


@pytest.mark.parametrize("field", ["targetHost", "network", "submittedBy"])
@pytest.mark.parametrize("value", ["a\nb", "a\x1b[2J", "a\u202eb", "a\x85b", "a\u2028b", "x" * 257])
def test_a_word_cannot_forge_a_line_of_a_log_or_a_table(field: str, value: str) -> None:
    with pytest.raises(ValidationError):
        job(**{field: value})


@pytest.mark.parametrize(
    "env", [{"": "x"}, {"1A": "x"}, {"A=B": "x"}, {"A B": "x"}, {"A": "\x00"}, {"A": 1}, {"A": None}]
)
def test_what_cannot_be_an_environment_is_refused(env: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        job(env=env)


@pytest.mark.parametrize("words", [["a\x00"], [1], "a", ["x" * 65537], [None]])
@pytest.mark.parametrize("field", ["command", "args"])
def test_what_cannot_be_an_argument_is_refused(field: str, words: Any) -> None:
    with pytest.raises(ValidationError):
        job(**{field: words})


@pytest.mark.parametrize(
    ("labels", "is_good"),
    [
        ({"team": "blue", "opeva.io/kind": "a.b_c-d", "empty": ""}, True),
        ({"team": "two words"}, False),
        ({"team": "x" * 64}, False),
        ({"-team": "x"}, False),
        ({"a/b/c": "x"}, False),
        ({"": "x"}, False),
        ({"team": 1}, False),
    ],
)
def test_labels_are_like_those_of_kubernetes(labels: dict[str, Any], is_good: bool) -> None:
    if is_good:
        assert labelled(labels=labels).metadata.labels == labels
        return
    with pytest.raises(ValidationError):
        labelled(labels=labels)


def test_annotations_hold_any_text() -> None:
    assert labelled(annotations={"opeva.io/note": "any\ntext ✓" * 100}).metadata.annotations
    with pytest.raises(ValidationError):
        labelled(annotations={"two words": "x"})


def test_defaults_are_these() -> None:
    spec = job().spec
    assert (spec.image_pull_policy, spec.termination_grace_period_seconds, spec.rerun) == ("IfNotPresent", 30, 0)
    assert (spec.image, spec.env, spec.resources.cpu, spec.network, spec.target_host) == (None, {}, None, None, None)


@pytest.mark.parametrize("spec", [{"config": {}, "configPath": "a"}, {"args": None}, {"args": None, "image": "a"}])
def test_a_job_needs_exactly_one_thing_to_run_with(spec: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        job(**spec)


def test_a_job_cannot_be_changed() -> None:
    found = job()
    before = copy.deepcopy(found)
    with pytest.raises(ValidationError):
        found.spec.rerun = 1
    assert found == before


def test_fields_go_by_the_names_of_the_file_only() -> None:
    with pytest.raises(ValidationError):
        job(config_path="a")
