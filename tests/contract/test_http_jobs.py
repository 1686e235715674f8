"""What clients rely on: looking, stopping and deleting, seen from outside."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from opeva_api.testing import START, Stage, staged
from opeva_specs.status import Phase

CONFIG = {"experiment": {"name": "Grid", "run_name": "first"}}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as found:
        yield found


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
@pytest.mark.parametrize(
    "name", ["unknown", "%2e%2e", "..%2f..", "%2e%2e%2fx", "UPPER", "a" * 64, "a b", ".hidden", "a%00b", "é"]
)
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
    stage.operator.beats()
    stage.eventually(lambda: stage.get("/health").json()["status"] == "ok")
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
    job_id = stage.post("/run-simulation", {"config": CONFIG}).json()["job_id"]
    assert stage.post(f"/stop/{job_id}").json()["message"] == "stop requested"
    assert stage.word(job_id) == "stop_requested"
    stage.operator.tells(job_id, Phase.CANCELED)
    stage.shows(job_id, "canceled")


def test_a_stop_without_an_operator_says_when_it_will_be_done(stage: Stage) -> None:
    stage.operator.tells("j", Phase.RUNNING)
    stage.shows("j", "running")
    assert "never been heard of" in stage.post("/stop/j").json()["note"]


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
    job_id = stage.post("/run-simulation", {"config": CONFIG}).json()["job_id"]
    with stage.operator.obeying():
        assert stage.client.delete(f"/job/{job_id}").json()["message"] == "deleted"
    assert list((stage.operator.volume.root / "specs/api").iterdir()) == []


def test_a_delete_without_an_operator_says_when_it_will_be_done(stage: Stage) -> None:
    stage.operator.beats(seconds_ago=120)
    stage.operator.tells("j", Phase.FINISHED)
    stage.shows("j", "finished")
    stage.eventually(lambda: float(stage.get("/health").json()["operator"]["heartbeat_age_seconds"] or 0) > 100)
    told = stage.client.delete("/job/j").json()
    assert told["message"] == "delete requested"
    assert "silent for 12" in told["note"]
    assert stage.operator.control.names() == ["j"]
