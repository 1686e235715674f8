"""What clients rely on: submitting, looking, stopping and deleting, seen from outside."""

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from opeva_api.testing import START, Stage, staged
from opeva_specs.parse import parse
from opeva_specs.status import Phase

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
        pytest.param({"config_path": "torn.yaml"}, "not readable YAML (line 1", id="no YAML in the file"),
        pytest.param({"config_path": "empty.yaml"}, "is empty", id="an empty file"),
        pytest.param({"config_path": "folder"}, "cannot read the config", id="a folder"),
        pytest.param({"config": CONFIG, "target_host": "moon"}, "unknown host 'moon': known are local", id="host"),
        pytest.param({"config": CONFIG, "image": "Bad Image"}, "is not an image reference", id="image"),
        pytest.param({"config": CONFIG, "image_tag": "a b"}, "is no tag", id="tag"),
        pytest.param({"config": CONFIG, "job_name": 5}, "job_name must be text", id="job_name"),
        pytest.param({"config": CONFIG, "job_name": "a\nb"}, "control character", id="control character"),
        pytest.param({"config": CONFIG, "save_as": "../x.yaml"}, "cannot name a config", id="save_as"),
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


# -- looking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", list(Phase))
def test_a_job_has_the_same_word_in_every_answer(stage: Stage, phase: Phase) -> None:
    stage.operator.tells("j", phase)
    stage.shows("j", phase.word)
    assert stage.get("/jobs").json()[0]["status"] == phase.word
    assert stage.get("/job-info/j").json()["status"] == phase.word
    assert [job["job_id"] for job in stage.get("/jobs", params={"status": phase.word}).json()] == ["j"]


def test_an_item_has_what_both_web_clients_read(stage: Stage) -> None:
    stage.operator.tells("j", Phase.FAILED, exit_code=137, reason="OutOfMemory", message="killed for memory")
    stage.shows("j", "failed")
    item = stage.get("/jobs").json()[0]
    assert item["job_info"]["job_name"] == "name of j"
    assert (item["exit_code"], item["engine_state"], item["reason"]) == (137, "exited", "OutOfMemory")
    started = START.timestamp() + 1
    assert (item["started_at"], item["finished_at"]) == (started, started + 60)
    seconds = (item["queue_wait_seconds"], item["run_duration_seconds"], item["total_duration_seconds"])
    assert seconds == (1, 60, 61)
    info = stage.get("/job-info/j").json()
    assert (info["started_at"], info["error"]) == ("2026-01-31T12:00:01.000000Z", "killed for memory")
    assert None not in info.values()


def test_jobs_come_newest_first_and_in_pages(stage: Stage) -> None:
    for i in range(5):
        stage.operator.tells(f"j{i}", Phase.QUEUED, queued_at=START + timedelta(seconds=i))
    stage.eventually(lambda: len(stage.get("/jobs").json()) == 5)
    page = stage.get("/jobs", params={"limit": 2, "offset": 1})
    assert [job["job_id"] for job in page.json()] == ["j3", "j2"]
    assert page.headers["X-Total-Count"] == "5"
    assert stage.get("/jobs", params={"offset": 9}).json() == []


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "offset=-1", "status=exited"])
def test_a_bad_page_is_refused_with_a_sentence(stage: Stage, query: str) -> None:
    answer = stage.get(f"/jobs?{query}")
    assert answer.status_code == 422
    assert isinstance(answer.json()["detail"], str)


@pytest.mark.parametrize("path", ["status", "job-info", "result", "progress", "logs", "file-logs"])
@pytest.mark.parametrize("name", ["unknown", "..", "%2e%2e", "UPPER", "a" * 64, "a b", ".hidden", "a%00b", "é"])
def test_an_unknown_or_hostile_id_is_not_found(stage: Stage, path: str, name: str) -> None:
    answer = stage.get(f"/{path}/{name}")
    assert answer.status_code == 404
    assert isinstance(answer.json()["detail"], str)


def test_a_deleted_job_that_left_a_tombstone_is_not_found(stage: Stage) -> None:
    stage.operator.tells("j", Phase.FINISHED)
    stage.shows("j", "finished")
    stage.operator.tells("j", Phase.FINISHED, hidden=True)
    stage.shows("j", "Job not found")
    assert stage.get("/jobs").json() == []


def test_a_spec_file_that_was_rejected_is_told_of_until_it_is_mended(stage: Stage) -> None:
    error = {"document": 1, "line": 3, "column": 1, "field": "spec", "reason": "X", "message": "is wrong"}
    stage.operator.writes("rejected/team/train.yaml.json", {"source": "team/train.yaml", "errors": [error]})
    stage.shows("train", "failed")
    told = stage.get("/status/train").json()
    assert (told["reason"], told["message"]) == ("SpecInvalid", "specs/team/train.yaml: line 3: is wrong")
    assert "SpecInvalid" in stage.get("/logs/train").text
    stage.operator.volume.remove("rejected/team/train.yaml.json")
    stage.shows("train", "Job not found")


def test_a_job_whose_edited_file_is_rejected_is_told_of_once(stage: Stage) -> None:
    stage.operator.tells("j", Phase.RUNNING)
    stage.operator.writes("rejected/api/j.yaml.json", {"errors": [{"line": 1, "message": "is wrong"}]})
    stage.shows("j", "running")
    assert len(stage.get("/jobs").json()) == 1


# -- stopping --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("phase", "word"), [(Phase.RUNNING, "stopped"), (Phase.QUEUED, "canceled")])
def test_a_stop_that_succeeds_in_time_says_stopped(stage: Stage, phase: Phase, word: str) -> None:
    stage.operator.tells("j", phase)
    stage.shows("j", phase.word)
    with stage.operator.obeying():
        told = stage.post("/stop/j").json()
    assert told == {"message": "stopped", "job_id": "j", "status": word}


def test_a_stop_that_takes_longer_says_so_within_a_second_and_shows_at_once(stage: Stage) -> None:
    stage.operator.tells("j", Phase.RUNNING)
    stage.shows("j", "running")
    answer = stage.post("/stop/j", {"reason": "enough"})
    assert answer.json() == {"message": "stop requested", "job_id": "j", "status": "stop_requested"}
    assert answer.elapsed < timedelta(seconds=2)
    assert stage.get("/jobs").json()[0]["status"] == "stop_requested"
    wish = stage.operator.control.read("j")
    assert wish is not None
    assert (wish.wish, wish.reason, wish.digest) == ("stop", "enough", "d" * 64)


def test_a_second_stop_is_harmless_and_makes_no_second_wish(stage: Stage) -> None:
    stage.operator.tells("j", Phase.RUNNING)
    stage.shows("j", "running")
    stage.post("/stop/j")
    first = stage.operator.control.read("j")
    assert stage.post("/stop/j").json()["message"] == "stop requested"
    assert stage.operator.control.read("j") == first


def test_a_job_that_ended_cannot_be_stopped_and_says_how_it_ended(stage: Stage) -> None:
    stage.operator.tells("j", Phase.FAILED)
    stage.shows("j", "failed")
    told = stage.post("/stop/j")
    assert (told.status_code, told.json()["message"]) == (200, "Job already finished (failed)")
    assert stage.operator.control.names() == []


def test_a_job_that_the_operator_has_not_seen_can_be_stopped(stage: Stage) -> None:
    job_id = submit(stage, {"config": CONFIG})["job_id"]
    assert stage.post(f"/stop/{job_id}").json()["message"] == "stop requested"
    assert stage.word(job_id) == "stop_requested"
    stage.operator.tells(job_id, Phase.CANCELED)
    stage.shows(job_id, "canceled")


def test_a_wish_that_was_dropped_no_longer_shows(stage: Stage) -> None:
    stage.operator.tells("j", Phase.RUNNING)
    stage.shows("j", "running")
    stage.post("/stop/j")
    stage.operator.control.remove("j")
    stage.shows("j", "running")


def test_an_unknown_job_cannot_be_stopped(stage: Stage) -> None:
    assert stage.post("/stop/unknown").status_code == 404


# -- deleting --------------------------------------------------------------------------------------------------------


def test_an_ended_job_is_deleted_once(stage: Stage) -> None:
    stage.operator.tells("j", Phase.FINISHED)
    stage.shows("j", "finished")
    with stage.operator.obeying():
        assert stage.client.delete("/job/j").json() == {"message": "deleted", "job_id": "j"}
    second = stage.client.delete("/job/j")
    assert (second.status_code, second.json()) == (404, {"detail": "Job not found or already deleted"})
    assert stage.get("/jobs").json() == []


@pytest.mark.parametrize("phase", [phase for phase in Phase if not phase.is_terminal])
def test_an_active_job_is_not_deleted(stage: Stage, phase: Phase) -> None:
    stage.operator.tells("j", phase)
    stage.shows("j", phase.word)
    answer = stage.client.delete("/job/j")
    assert (answer.status_code, "stop it first" in answer.json()["detail"]) == (409, True)
    assert stage.operator.control.names() == []


def test_a_job_that_the_operator_has_not_seen_can_be_deleted(stage: Stage) -> None:
    job_id = submit(stage, {"config": CONFIG})["job_id"]
    with stage.operator.obeying():
        assert stage.client.delete(f"/job/{job_id}").json()["message"] == "deleted"
    assert specs_of(stage) == []


def test_a_delete_without_an_operator_says_when_it_will_be_done(stage: Stage) -> None:
    stage.operator.beats(seconds_ago=120)
    stage.operator.tells("j", Phase.FINISHED)
    stage.shows("j", "finished")
    stage.eventually(lambda: float(stage.get("/health").json()["operator"]["heartbeat_age_seconds"] or 0) > 100)
    told = stage.client.delete("/job/j").json()
    assert told["message"] == "delete requested"
    assert "silent for 12" in told["note"]
    assert stage.operator.control.names() == ["j"]
