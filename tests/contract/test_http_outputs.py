"""What clients read of a job's own files: progress, result, job_info and the link to MLflow."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from opeva_api.testing import START, Stage, job_status, staged
from opeva_specs.status import Phase
from opeva_specs.terms import Progress


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as found:
        yield found


def running(stage: Stage, name: str = "j") -> None:
    stage.operator.tells(name, Phase.RUNNING)
    stage.shows(name, "running")


def ended(stage: Stage, phase: Phase, **observed: Any) -> None:
    stage.operator.tells("j", phase, **observed)
    stage.shows("j", phase.word)


def leaves(value: Any) -> list[Any]:
    """Every value in a JSON document that is no object and no list."""
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


# -- progress --------------------------------------------------------------------------------------------------------


def test_progress_is_there_before_the_job_writes_any(stage: Stage) -> None:
    running(stage)
    assert stage.get("/progress/j").json() == {
        "progress": "No updates yet.",
        "percent": 0.0,
        "progress_pct": 0.0,
        "eta": {"available": False, "reason": "its progress tells too little so far"},
    }


def test_progress_serves_both_web_clients_at_once(stage: Stage) -> None:
    running(stage)
    stage.operator.writes("jobs/j/progress/progress.json", {"step": 25, "total": 100, "reward": -1.5})
    told = stage.get("/progress/j").json()
    assert (told["percent"], told["progress_pct"], told["step"], told["reward"]) == (25, 25, 25, -1.5)
    assert told["progress"]["step"] == 25
    assert told["updated_at"].endswith("Z")


@pytest.mark.parametrize(
    ("written", "percent"),
    [
        pytest.param({"progress_pct": 0.5}, 0.5, id="half a percent is not half"),
        pytest.param({"progress": 0.5}, 50, id="a fraction"),
        pytest.param({"percent": 12}, 12, id="a percentage"),
        pytest.param({"step": 1, "total": 4, "percent": 99}, 25, id="steps count more than a figure"),
        pytest.param({"global_step": 3, "global_step_total": 4}, 75, id="global steps"),
        pytest.param(
            {"episode_current": 2, "episode_total": 4, "step_current": 5, "step_total": 10}, 37.5, id="episodes"
        ),
        pytest.param({"step": 5, "total": 0}, 0, id="no total"),
        pytest.param({"percent": -3}, 0, id="below nothing"),
        pytest.param({"percent": 100}, 99.9, id="not finished until it has ended"),
        pytest.param({"percent": True}, 0, id="no number"),
        pytest.param({"percent": 10**400}, 0, id="too large a number"),
    ],
)
def test_one_percentage_is_told(stage: Stage, written: Any, percent: float) -> None:
    running(stage)
    stage.operator.writes("jobs/j/progress/progress.json", written)
    assert stage.get("/progress/j").json()["percent"] == percent


def test_progress_never_falls_and_survives_a_torn_file(stage: Stage) -> None:
    running(stage)
    for written in ('{"percent": 40, "step": 4}', '{"percent": 30, "step": 5}', '{"percent": 5', "[]", ""):
        stage.operator.writes("jobs/j/progress/progress.json", written)
        assert stage.get("/progress/j").json()["percent"] == 40
    assert stage.get("/progress/j").json()["step"] == 5


def test_a_finished_job_is_at_100_even_without_a_file(stage: Stage) -> None:
    ended(stage, Phase.FINISHED)
    assert stage.get("/progress/j").json()["percent"] == 100


def test_a_failed_job_stays_where_it_was(stage: Stage) -> None:
    stage.operator.writes("jobs/j/progress/progress.json", {"percent": 70})
    ended(stage, Phase.FAILED)
    assert stage.get("/progress/j").json()["percent"] == 70


def reckoned(stage: Stage, phase: Phase, percent: float, eta: float | None = None) -> None:
    """The operator tells how far it thinks the job is."""
    status = job_status("j", phase)
    finish = START + timedelta(seconds=eta) if eta is not None else None
    progress = Progress(percent=percent, updated_at=START, eta_seconds=eta, estimated_finish_at=finish)
    attempt = status.status.attempts[-1].model_copy(update={"progress": progress})
    stage.operator.tells("j", phase, attempts=(attempt,))
    stage.eventually(lambda: stage.get("/status/j").json().get("eta_seconds") == eta)
    stage.shows("j", phase.word)


def test_how_long_it_takes_is_told_as_the_operator_reckons(stage: Stage) -> None:
    reckoned(stage, Phase.RUNNING, 40, 90)
    eta = {"eta_seconds": 90, "estimated_finish_at": "2026-01-31T12:01:30.000000Z"}
    told = stage.get("/progress/j").json()
    assert (told["percent"], told["eta"]) == (40, {"available": True, **eta})
    assert {key: told[key] for key in eta} == eta
    item = stage.get("/jobs").json()[0]
    assert (item["percent"], item["eta_seconds"], item["eta"]["available"]) == (40, 90, True)
    assert item["estimated_finish_at"] == START.timestamp() + 90
    assert stage.get("/job-info/j").json()["estimated_finish_at"] == eta["estimated_finish_at"]


def test_the_larger_percentage_counts_while_it_runs_and_the_operators_once_it_ended(stage: Stage) -> None:
    reckoned(stage, Phase.RUNNING, 40, 90)
    stage.operator.writes("jobs/j/progress/progress.json", {"percent": 45})
    assert stage.get("/progress/j").json()["percent"] == 45
    reckoned(stage, Phase.FAILED, 46)
    stage.operator.writes("jobs/j/progress/progress.json", {"percent": 80})
    told = stage.get("/progress/j").json()
    assert (told["percent"], told["eta"]) == (46, {"available": False, "reason": "the job is failed"})


def test_a_job_that_waits_says_that_it_has_not_started(stage: Stage) -> None:
    ended(stage, Phase.QUEUED)
    assert stage.get("/progress/j").json()["eta"] == {"available": False, "reason": "the job has not started"}


def test_progress_with_nan_is_told_without_it(stage: Stage) -> None:
    running(stage)
    stage.operator.writes("jobs/j/progress/progress.json", '{"step": 1, "total": 2, "reward": NaN, "rewards": [NaN]}')
    told = stage.get("/progress/j").json()
    assert (told["percent"], told["rewards"], "reward" in told) == (50, ["NaN"], False)


# -- result ----------------------------------------------------------------------------------------------------------


def test_a_result_is_pending_only_while_the_job_is_active(stage: Stage) -> None:
    running(stage)
    assert stage.get("/result/j").json() == {"status": "pending", "message": "Result not ready yet."}
    ended(stage, Phase.FAILED, message="exited with 3")
    assert stage.get("/result/j").json() == {
        "status": "failed",
        "message": "no result: the job is failed (Failed): exited with 3",
    }


@pytest.mark.parametrize("content", ["", "{", '{"status": "pending"}', "[[[[" * 1000])
def test_a_dead_job_without_a_usable_result_says_why(stage: Stage, content: str) -> None:
    stage.operator.writes("jobs/j/results/result.json", content)
    ended(stage, Phase.FINISHED)
    told = stage.get("/result/j").json()
    assert told["status"] == "finished"
    assert told["message"].startswith("no result: results/result.json")


def test_a_result_holds_no_null_and_no_nan(stage: Stage) -> None:
    text = '{"B1": {"cost": 0.5, "peak": NaN, "dir": null}, "list": [1, NaN, null, -Infinity], "big": 1e999, "n": null}'
    stage.operator.writes("jobs/j/results/result.json", text)
    ended(stage, Phase.FINISHED)
    answer = stage.get("/result/j")
    told = json.loads(answer.text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert told == {"B1": {"cost": 0.5}, "list": [1, "NaN", "null", "-Infinity"]}
    assert None not in leaves(told)


@pytest.mark.parametrize("content", ["[1]", '"text"', "null", "5", '{"a": "\\ud800"}', f'{{"a": {10**30}}}'])
def test_an_odd_result_is_still_an_object(stage: Stage, content: str) -> None:
    stage.operator.writes("jobs/j/results/result.json", content)
    ended(stage, Phase.FINISHED)
    answer = stage.get("/result/j")
    assert answer.status_code == 200
    assert isinstance(answer.json(), dict)
    assert None not in leaves(answer.json())


def test_a_result_of_an_earlier_generation_is_not_shown_as_this_ones(stage: Stage) -> None:
    stage.operator.writes("jobs/j/results/result.json", {"cost": 1})
    stage.operator.writes("jobs/j/progress/progress.json", {"percent": 80})
    stage.operator.writes("jobs/j/logs/j.log", "of the run before\n")
    ended(stage, Phase.QUEUED)
    assert stage.get("/result/j").json()["status"] == "pending"
    assert stage.get("/progress/j").json()["percent"] == 0
    assert "of the run before" not in stage.get("/logs/j").text


# -- job_info --------------------------------------------------------------------------------------------------------


def test_what_the_job_adds_to_its_job_info_is_told_and_what_we_know_wins(stage: Stage) -> None:
    running(stage)
    written = {"mlflow_run_id": "r1", "bundle_dir": "/data/x", "job_name": "forged", "submitted_by": "eve", "n": None}
    stage.operator.writes("jobs/j/job_info.json", written | {"job_id": "other", "status": "finished"})
    info = stage.get("/job-info/j").json()
    assert (info["mlflow_run_id"], info["bundle_dir"]) == ("r1", "/data/x")
    assert (info["job_id"], info["job_name"], info["submitted_by"]) == ("j", "name of j", "ann")
    assert info["status"] == "running"
    stage.eventually(lambda: stage.get("/jobs").json()[0]["job_info"].get("mlflow_run_id") == "r1")
    assert stage.get("/jobs").json()[0]["job_info"]["submitted_by"] == "ann"


def test_a_torn_job_info_leaves_the_last_good_one(stage: Stage) -> None:
    running(stage)
    stage.operator.writes("jobs/j/job_info.json", {"mlflow_run_id": "r1", "bundle_dir": "b"})
    assert stage.get("/job-info/j").json()["bundle_dir"] == "b"
    stage.eventually(lambda: "mlflow_run_id" in stage.get("/jobs").json()[0]["job_info"])
    stage.operator.writes("jobs/j/job_info.json", '{"mlflow_run_id": "r1", "bund')
    assert stage.get("/job-info/j").json()["bundle_dir"] == "b"
    stage.operator.tells("j", Phase.FINISHED)
    stage.shows("j", "finished")
    assert stage.get("/jobs").json()[0]["job_info"]["mlflow_run_id"] == "r1"


def test_a_huge_or_odd_job_info_does_not_reach_the_list(stage: Stage) -> None:
    running(stage)
    running(stage, "k")
    stage.operator.writes("jobs/j/job_info.json", {"mlflow_run_id": "x" * 50_000, "run_id": {"a": [1]}, "noise": "n"})
    stage.operator.writes("jobs/k/job_info.json", {"mlflow_run_id": "good"})
    stage.eventually(lambda: "good" in stage.get("/jobs").text)
    assert len(stage.get("/jobs").content) < 5000


RUN = {"mlflow_run_id": "abc", "mlflow_experiment_id": "7", "mlflow_run_url": "http://mlflow:5000/#/x"}


def test_the_link_to_mlflow_is_made_from_its_public_address(tmp_path: Path) -> None:
    with staged(tmp_path, mlflow_public_url="https://ml.example.org/") as stage:
        running(stage)
        stage.operator.writes("jobs/j/job_info.json", RUN)
        link = "https://ml.example.org/#/experiments/7/runs/abc"
        assert stage.get("/job-info/j").json()["mlflow_run_url"] == link
        stage.eventually(lambda: stage.get("/jobs").json()[0]["job_info"].get("mlflow_run_url") == link)


@pytest.mark.parametrize(
    ("url", "is_told"),
    [
        ("http://mlflow:5000/#/x", False),
        ("http://localhost:5000", False),
        ("http://10.0.0.8:5000", False),
        ("http://mlflow.opeva.svc.cluster.local", False),
        ("javascript:alert(1)//x.org", False),
        ("https://ml.example.org/#/x", True),
    ],
)
def test_without_a_public_address_only_a_link_that_may_work_is_told(stage: Stage, url: str, is_told: bool) -> None:
    running(stage)
    stage.operator.writes("jobs/j/job_info.json", RUN | {"mlflow_run_url": url})
    assert ("mlflow_run_url" in stage.get("/job-info/j").json()) is is_told


def test_a_forged_run_id_makes_no_link(tmp_path: Path) -> None:
    with staged(tmp_path, mlflow_public_url="https://ml.example.org") as stage:
        running(stage)
        stage.operator.writes("jobs/j/job_info.json", RUN | {"mlflow_run_id": "../../evil?x"})
        assert "mlflow_run_url" not in stage.get("/job-info/j").json()
