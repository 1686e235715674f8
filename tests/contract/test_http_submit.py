"""What clients rely on when they submit: all is checked first, accepted is durable, and a key makes one job."""

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from opeva_api.testing import Stage, staged
from opeva_specs.parse import parse

CONFIG = {"experiment": {"name": "Grid", "run_name": "first"}, "algorithm": {"rate": 1e-05}}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as found:
        yield found


def submit(stage: Stage, body: dict[str, Any], **headers: str) -> Any:
    answer = stage.post("/run-simulation", body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def specs_of(stage: Stage) -> list[Path]:
    return sorted((stage.operator.volume.root / "specs/api").glob("*.yaml"))


# -- submitting ------------------------------------------------------------------------------------------------------


def test_an_accepted_job_is_a_spec_file_and_is_told_of_at_once(stage: Stage) -> None:
    told = submit(stage, {"config": CONFIG, "submitted_by": "ann"})
    assert told == {
        "job_id": str(uuid.UUID(told["job_id"])),
        "status": "queued",
        "host": "local",
        "job_name": "Grid-first",
        "image": "calof/opeva_simulator:latest",
        "image_tag": "latest",
    }
    assert stage.get("/jobs").json()[0]["job_id"] == told["job_id"]
    assert stage.word(told["job_id"]) == "queued"
    document = parse((stage.operator.volume.root / f"specs/api/{told['job_id']}.yaml").read_bytes())[0]
    assert document.job.metadata.name == told["job_id"]
    assert document.job.spec.config == CONFIG
    assert document.job.spec.submitted_by == "ann"


TERMS = {
    "priority": 5,
    "suspend": True,
    "activeDeadlineSeconds": 60,
    "stallSeconds": 30,
    "backoffLimit": 2,
    "retryOn": [1, 137],
    "failOn": [2],
    "ttlSecondsAfterFinished": 0,
    "ttlSecondsAfterFailed": 9,
    "keep": True,
}


def snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


@pytest.mark.parametrize("spelled", [str, snake], ids=["as in specs", "as in requests"])
def test_what_a_spec_may_say_a_request_may_say_too(stage: Stage, spelled: Any) -> None:
    limits = {"cpu": 1.5, "memory": "2Gi", "gpu": 1}
    submit(stage, {"config": CONFIG, "resources": limits} | {spelled(name): value for name, value in TERMS.items()})
    spec = parse(specs_of(stage)[0].read_bytes())[0].job.spec.model_dump(by_alias=True, exclude_unset=True)
    assert {name: spec[name] for name in TERMS} == TERMS
    assert spec["resources"] == limits | {"cpu": "1.5"}


def test_what_is_not_asked_for_is_not_in_the_spec(stage: Stage) -> None:
    submit(stage, {"config": CONFIG, "priority": None, "resources": {"cpu": None}, "retry_on": None})
    spec = yaml.safe_load(specs_of(stage)[0].read_text())["spec"]
    assert spec.keys() == {"config"}


def test_a_job_goes_to_any_host_there_is(stage: Stage) -> None:
    stage.operator.has_hosts(local={}, far={})
    stage.eventually(lambda: "far" in stage.get("/hosts").json()["hosts"])
    assert submit(stage, {"config": CONFIG, "target_host": "far"})["host"] == "far"
    answer = stage.post("/run-simulation", {"config": CONFIG, "target_host": "moon"})
    assert (answer.status_code, answer.json()["detail"]) == (400, "unknown host 'moon': known are far, local")


def test_the_spec_file_says_who_and_when_and_reads_alike_in_older_yaml(stage: Stage) -> None:
    config = {"no": "no", "y": "n", "time": "12:30:45", "octal": "0o17", "big": "1e5", "date": "2024-01-01", "n": None}
    submit(stage, {"config": config, "submitted_by": "ann"})
    text = specs_of(stage)[0].read_text()
    assert text.startswith("# Submitted over the REST API by ann at 2")
    assert yaml.safe_load(text)["spec"]["config"] == config
    assert list(yaml.safe_load(text)) == ["apiVersion", "kind", "metadata", "spec"]


def test_everything_a_web_client_sends_comes_back_in_job_info(stage: Stage) -> None:
    body = {
        "config": CONFIG,
        "job_name": "my run",
        "image_tag": "v2",
        "submitted_by": "ann",
        "target_host": "",
        "target_worker_profile": "cpu",
        "deucalion_options": {"x": 1},
    }
    told = submit(stage, body)
    assert (told["image"], told["image_tag"], told["job_name"]) == ("calof/opeva_simulator:v2", "v2", "my run")
    info = stage.get(f"/job-info/{told['job_id']}").json()
    assert (info["job_name"], info["submitted_by"], info["image_tag"]) == ("my run", "ann", "v2")
    notes = parse(specs_of(stage)[0].read_bytes())[0].job.metadata.annotations
    assert notes["opeva.io/target-worker-profile"] == "cpu"


@pytest.mark.parametrize("spelling", ["train.yaml", "configs/train.yaml"])
def test_a_config_path_may_have_the_prefix_or_not(stage: Stage, spelling: str) -> None:
    stage.operator.writes("configs/train.yaml", "metadata: {experiment_name: E, run_name: R}\n")
    assert submit(stage, {"config_path": spelling})["job_name"] == "E-R"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param({}, "neither config nor config_path", id="nothing to run"),
        pytest.param({"config": CONFIG, "config_path": "x.yaml"}, "both config and config_path", id="both"),
        pytest.param({"config": [1]}, "config must be a JSON object", id="a list as config"),
        pytest.param({"config": "text"}, "config must be a JSON object", id="text as config"),
        pytest.param({"config_path": "none.yaml"}, "there is no config 'none.yaml'", id="missing file"),
        pytest.param({"config_path": "../specs/x.yaml"}, "stay under configs/", id="traversal"),
        pytest.param({"config_path": "configs/../../x"}, "stay under configs/", id="traversal behind the prefix"),
        pytest.param({"config_path": "/etc/passwd"}, "under configs/", id="absolute"),
        pytest.param({"config_path": "a\u0000b"}, "under configs/", id="NUL"),
        pytest.param({"config_path": "list.yaml"}, "is a list", id="a list in the file"),
        pytest.param({"config_path": "torn.yaml"}, "not readable YAML (line", id="no YAML in the file"),
        pytest.param({"config_path": "empty.yaml"}, "is empty", id="an empty file"),
        pytest.param({"config_path": "folder"}, "cannot read the config", id="a folder"),
        pytest.param({"config": CONFIG, "target_host": "moon"}, "unknown host 'moon': known are local", id="host"),
        pytest.param({"config": CONFIG, "image": "Bad Image"}, "is not an image reference", id="image"),
        pytest.param({"config": CONFIG, "image_tag": "a b"}, "is no tag", id="tag"),
        pytest.param({"config": CONFIG, "job_name": 5}, "job_name must be text", id="job_name"),
        pytest.param({"config": CONFIG, "job_name": "a\nb"}, "control character", id="control character"),
        pytest.param({"config": CONFIG, "save_as": "../x.yaml"}, "cannot name a config", id="save_as"),
        pytest.param({"config": CONFIG, "priority": 5000}, "priority: should be less than", id="priority"),
        pytest.param({"config": CONFIG, "priority": "1"}, "priority must be a whole number", id="priority as text"),
        pytest.param({"config": CONFIG, "backoffLimit": True}, "backoffLimit must be a whole number", id="camel case"),
        pytest.param({"config": CONFIG, "keep": 1}, "keep must be true or false", id="keep"),
        pytest.param({"config": CONFIG, "retry_on": 1}, "retry_on must be a list", id="retry_on"),
        pytest.param({"config": CONFIG, "retry_on": [0]}, "retryOn[0]: should be greater", id="retry_on zero"),
        pytest.param({"config": CONFIG, "resources": {"cpus": 1}}, "did you mean 'cpu'?", id="resources"),
        pytest.param({"config": CONFIG, "resources": {"memory": "x"}}, "is not an amount of memory", id="memory"),
        pytest.param({"config": {"a": [10**18]}}, "config.a[0]: a whole number may have 18 digits", id="big"),
        pytest.param({"config": {"a": "\ud800"}}, "half of a Unicode character", id="half a character"),
    ],
)
def test_a_bad_request_is_refused_with_a_sentence_and_leaves_nothing(
    stage: Stage, body: dict[str, Any], words: str
) -> None:
    stage.operator.writes("configs/list.yaml", "- 1\n")
    stage.operator.writes("configs/torn.yaml", "{a: [")
    stage.operator.writes("configs/empty.yaml", "# nothing\n")
    (stage.operator.volume.root / "configs/folder").mkdir()
    answer = stage.post("/run-simulation", None, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert words in answer.json()["detail"]
    assert specs_of(stage) == []
    assert stage.get("/jobs").json() == []


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        pytest.param(b'{"config": {"a": NaN}}', 400, "NaN", id="NaN"),
        pytest.param(b'{"config": {"a": 1e999}}', 400, "config.a: is no finite number", id="infinite"),
        pytest.param(b'{"config": {"a": 1, "a": 2}}', 400, "'a' stands there twice", id="twins"),
        pytest.param(b"{", 400, "cannot read the body as JSON", id="torn"),
        pytest.param(b"[]", 400, "must be a JSON object", id="no object"),
        pytest.param(b"\xff\xfe", 400, "cannot read the body as JSON", id="no text"),
        pytest.param(b'{"config":' + b'{"a":' * 5000 + b"1" + b"}" * 5001, 400, "nested too deep", id="deep"),
        pytest.param(b'{"config": {"a": ' + b"9" * 6000 + b"}}", 400, "cannot read the body", id="6,000 digits"),
        pytest.param(b'{"config": {"a": "' + b"x" * 1_200_000 + b'"}}', 413, "larger than", id="too large"),
    ],
)
def test_a_body_that_cannot_be_taken_is_refused(stage: Stage, content: bytes, status: int, words: str) -> None:
    answer = stage.post("/run-simulation", None, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert words in answer.json()["detail"]
    assert specs_of(stage) == []


def test_a_body_without_a_length_is_bounded_too(stage: Stage) -> None:
    pieces = (b"x" * 65536 for _ in range(40))
    answer = stage.client.post("/run-simulation", content=pieces, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def test_a_body_must_be_json(stage: Stage) -> None:
    answer = stage.post("/run-simulation", None, content=b"config: {}", headers={"Content-Type": "text/plain"})
    assert (answer.status_code, "application/json" in answer.json()["detail"]) == (415, True)


def test_a_config_too_large_for_a_spec_is_stored_beside_it(stage: Stage) -> None:
    config = {"experiment": {"name": "Big"}, "series": list(range(20_000))}
    told = submit(stage, {"config": config})
    spec = parse(specs_of(stage)[0].read_bytes())[0].job.spec
    assert spec.config_path == f"{told['job_id']}.yaml"
    stored = stage.operator.volume.root / "configs" / spec.config_path
    assert yaml.safe_load(stored.read_text()) == config


def test_save_as_keeps_the_config_and_never_overwrites_another(stage: Stage) -> None:
    submit(stage, {"config": CONFIG, "save_as": "mine.yaml"})
    submit(stage, {"config": CONFIG, "save_as": "mine.yaml"})
    saved = stage.operator.volume.root / "configs/mine.yaml"
    assert yaml.safe_load(saved.read_text()) == CONFIG
    answer = stage.post("/run-simulation", {"config": {"other": 1}, "save_as": "mine.yaml"})
    assert answer.status_code == 409
    assert yaml.safe_load(saved.read_text()) == CONFIG
    assert len(specs_of(stage)) == 2


# -- once and only once ----------------------------------------------------------------------------------------------


def test_a_key_makes_one_job_however_often_it_is_sent(stage: Stage) -> None:
    with ThreadPoolExecutor(16) as pool:
        sent = [pool.submit(submit, stage, {"config": CONFIG}, **{"Idempotency-Key": "k1"}) for _ in range(32)]
        answers = [one.result() for one in sent]
    assert all(answer == answers[0] for answer in answers)
    assert len(specs_of(stage)) == 1


def test_a_key_with_another_body_is_a_conflict(stage: Stage) -> None:
    first = submit(stage, {"config": CONFIG}, **{"Idempotency-Key": "k1"})
    answer = stage.post("/run-simulation", {"config": {"b": 1}}, headers={"Idempotency-Key": "k1"})
    assert answer.status_code == 409
    assert "Idempotency-Key" in answer.json()["detail"]
    assert submit(stage, {"config": CONFIG}, **{"Idempotency-Key": "k2"})["job_id"] != first["job_id"]


def test_a_key_is_remembered_by_the_next_process(tmp_path: Path) -> None:
    with staged(tmp_path) as first:
        before = submit(first, {"config": CONFIG}, **{"Idempotency-Key": "k"})
    with staged(tmp_path) as second:
        assert submit(second, {"config": CONFIG}, **{"Idempotency-Key": "k"}) == before
        assert len(specs_of(second)) == 1
