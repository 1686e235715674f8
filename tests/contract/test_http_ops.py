"""What whoever looks after the server may ask for: each answer is the truth, and nothing active is ever swept away."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from opeva_api import cleanup
from opeva_api.services import Services
from opeva_api.testing import PlayedOperator, Stage, staged
from opeva_specs.settings import Settings
from opeva_specs.status import Phase
from opeva_specs.terms import Terms

SPEC = "apiVersion: opeva.io/v1\nkind: SimulationJob\nmetadata: {name: j}\nspec: {args: []}\n"
ACTIVE = [phase for phase in Phase if not phase.is_terminal]
ENDED = [phase for phase in Phase if phase.is_terminal]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as found:
        found.operator.beats()
        found.operator.writes("specs/api/j.yaml", SPEC)
        found.eventually(lambda: found.get("/health").json()["status"] == "ok")
        yield found


def has(stage: Stage, phase: Phase, name: str = "j", **observed: Any) -> None:
    stage.operator.tells(name, phase, **observed)
    stage.shows(name, phase.word)


def ask(stage: Stage, what: str, body: Any = None) -> tuple[int, Any]:
    answer = stage.post(f"/ops/jobs/j/{what}", body)
    return answer.status_code, answer.json()


def wish(stage: Stage) -> tuple[str, str] | None:
    found = stage.operator.control.read("j")
    return None if found is None else (found.wish, found.reason)


@pytest.mark.parametrize("what", ["stop", "requeue", "cancel", "fail"])
def test_an_unknown_job_is_not_found(stage: Stage, what: str) -> None:
    assert stage.post(f"/ops/jobs/nobody/{what}").status_code == 404


@pytest.mark.parametrize(
    ("what", "body", "words"),
    [
        ("stop", {"reason": 5}, "reason must be text"),
        ("cancel", {"force": "yes"}, "force should be a valid boolean"),
        ("requeue", {"preferred_host": ["a"]}, "preferred_host should be a valid string"),
        ("fail", {"reason": {}}, "reason should be a valid string"),
    ],
)
def test_a_body_of_another_shape_is_refused_with_a_sentence(
    stage: Stage, what: str, body: dict[str, Any], words: str
) -> None:
    has(stage, Phase.RUNNING)
    assert ask(stage, what, body) == (400, {"detail": words})
    assert wish(stage) is None


# -- stop ------------------------------------------------------------------------------------------------------------


def test_a_stop_is_the_same_as_elsewhere(stage: Stage) -> None:
    has(stage, Phase.RUNNING)
    told = {"message": "stop requested", "job_id": "j", "status": "stop_requested"}
    assert ask(stage, "stop", {"reason": "ops_stop"}) == (200, told)
    assert wish(stage) == ("stop", "ops_stop")


# -- requeue ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.STOPPED, Phase.CANCELED])
def test_an_ended_job_runs_again(stage: Stage, phase: Phase) -> None:
    has(stage, phase)
    with stage.operator.obeying():
        assert ask(stage, "requeue", {"force": False, "preferred_host": None, "require_host": None}) == (
            200,
            {"message": "requeued", "job_id": "j", "status": "queued"},
        )
    assert stage.get("/status/j").json()["generation"] == 2


def test_a_requeue_that_is_not_taken_up_yet_says_so(stage: Stage) -> None:
    has(stage, Phase.FAILED)
    assert ask(stage, "requeue") == (200, {"message": "requeue requested", "job_id": "j", "status": "failed"})
    assert wish(stage) == ("rerun", "")


def test_a_job_that_finished_runs_again_by_force_only(stage: Stage) -> None:
    has(stage, Phase.FINISHED)
    status, told = ask(stage, "requeue")
    assert (status, "force" in told["detail"]) == (409, True)
    with stage.operator.obeying():
        assert ask(stage, "requeue", {"force": True})[1]["message"] == "requeued"


def test_a_job_that_waits_is_requeued_already(stage: Stage) -> None:
    has(stage, Phase.QUEUED)
    assert ask(stage, "requeue") == (200, {"message": "Job already queued", "job_id": "j", "status": "queued"})
    assert wish(stage) is None


@pytest.mark.parametrize("phase", [phase for phase in ACTIVE if phase is not Phase.QUEUED])
def test_an_active_job_is_not_requeued(stage: Stage, phase: Phase) -> None:
    has(stage, phase)
    assert ask(stage, "requeue", {"force": True}) == (409, {"detail": f"the job is {phase.word}: stop it first"})
    assert wish(stage) is None


def test_another_host_is_refused_for_a_pin_belongs_to_the_spec(stage: Stage) -> None:
    has(stage, Phase.FAILED, host="far")
    status, told = ask(stage, "requeue", {"preferred_host": "local"})
    assert (status, "'far'" in told["detail"], "targetHost" in told["detail"]) == (409, True, True)
    assert ask(stage, "requeue", {"preferred_host": "far", "require_host": True})[0] == 200


def test_a_job_without_its_file_cannot_run_again(stage: Stage) -> None:
    has(stage, Phase.FAILED)
    stage.operator.volume.remove("specs/api/j.yaml")
    status, told = ask(stage, "requeue")
    assert (status, told["detail"]) == (409, "specs/api/j.yaml is gone: put it back, or submit the job anew")
    assert wish(stage) is None


def test_a_file_that_was_rejected_is_mended_not_requeued(stage: Stage) -> None:
    stage.operator.writes("rejected/team/j.yaml.json", {"errors": [{"line": 1, "message": "is wrong"}]})
    stage.shows("j", "failed")
    status, told = ask(stage, "requeue")
    assert (status, "mend the file" in told["detail"]) == (409, True)


# -- cancel and fail -------------------------------------------------------------------------------------------------


def test_a_job_that_waits_is_canceled(stage: Stage) -> None:
    has(stage, Phase.QUEUED)
    with stage.operator.obeying():
        assert ask(stage, "cancel", {"reason": "not now"}) == (
            200,
            {"message": "stopped", "job_id": "j", "status": "canceled"},
        )
    assert ask(stage, "cancel")[1]["message"] == "Job already canceled"


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.RUNNING])
def test_a_job_that_runs_is_canceled_by_force_only(stage: Stage, phase: Phase) -> None:
    has(stage, phase)
    status, told = ask(stage, "cancel")
    assert (status, "force" in told["detail"], wish(stage)) == (409, True, None)
    assert ask(stage, "cancel", {"force": True, "reason": "now"})[1]["status"] == "stop_requested"
    assert wish(stage) == ("stop", "now")


@pytest.mark.parametrize("phase", [Phase.FINISHED, Phase.FAILED, Phase.STOPPED])
def test_what_has_ended_cannot_be_canceled(stage: Stage, phase: Phase) -> None:
    has(stage, phase)
    status, told = ask(stage, "cancel", {"force": True})
    assert (status, phase.word in told["detail"]) == (409, True)


@pytest.mark.parametrize("phase", list(Phase))
def test_no_job_is_declared_failed_that_did_not_fail(stage: Stage, phase: Phase) -> None:
    has(stage, phase)
    status, told = ask(stage, "fail", {"reason": "looks dead"})
    assert (status, wish(stage)) == (409, None)
    advice = "cancel it" if phase is Phase.QUEUED else "never changed" if phase.is_terminal else "stop it"
    assert advice in told["detail"]


def test_by_force_an_active_job_is_stopped_with_that_reason(stage: Stage) -> None:
    has(stage, Phase.RUNNING)
    told = {"message": "stop requested", "job_id": "j", "status": "stop_requested"}
    assert ask(stage, "fail", {"reason": "looks dead", "force": True}) == (200, told)
    assert wish(stage) == ("stop", "looks dead")


# -- cleaning up -----------------------------------------------------------------------------------------------------


def fill(stage: Stage) -> None:
    """One job in each phase, named after its word."""
    for phase in Phase:
        has(stage, phase, phase.word.replace("_", "-"))


def clean(stage: Stage, body: Any = None) -> Any:
    answer = stage.post("/ops/jobs/cleanup", body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("body", [None, {}, {"dry_run": True}, {"keep": None}, {"confirm": True}])
def test_nothing_is_removed_unless_it_is_said_plainly(stage: Stage, body: Any) -> None:
    fill(stage)
    told = clean(stage, body)
    assert (told["dry_run"], told["removed"], told["count"]) == (True, [], 4)
    assert sorted(told["would_remove"]) == sorted(phase.word for phase in ENDED)
    assert set(told["kept"]) >= {"queued", "launching", "running", "stop-requested"}
    assert stage.operator.control.names() == []


def test_what_has_ended_is_removed_and_what_is_active_never(stage: Stage) -> None:
    fill(stage)
    stage.post("/stop/running")
    told = clean(stage, {"dry_run": False, "keep": ["failed"]})
    assert (told["dry_run"], told["would_remove"], told["count"]) == (False, [], 3)
    assert sorted(told["removed"]) == ["canceled", "finished", "stopped"]
    made = {name: stage.operator.control.read(name) for name in stage.operator.control.names()}
    assert {name: wish.wish for name, wish in made.items() if wish} == {
        "canceled": "delete", "finished": "delete", "stopped": "delete", "running": "stop",
    }  # fmt: skip


def test_only_what_is_old_enough_is_removed(stage: Stage) -> None:
    now = datetime.now(UTC)
    for days in (1, 5, 20):
        has(
            stage,
            Phase.FINISHED,
            f"d{days}",
            queued_at=now - timedelta(days=99),
            finished_at=now - timedelta(days=days),
        )
    assert clean(stage, {"older_than_days": 4})["would_remove"] == ["d20", "d5"]
    assert clean(stage, {"older_than_days": 4.0, "status": ["failed"]})["would_remove"] == []


def test_what_its_spec_protects_is_kept(stage: Stage) -> None:
    has(stage, Phase.FINISHED, "protected", terms=Terms(keep=True))
    told = clean(stage, {"dry_run": False})
    assert (told["removed"], "protected" in told["kept"]) == ([], True)


def test_a_long_list_takes_several_requests(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "AT_ONCE", 2)
    for n in range(3):
        has(stage, Phase.FINISHED, f"f{n}")
    told = clean(stage, {"dry_run": False})
    assert (told["removed"], told["would_remove"], told["count"]) == (["f0", "f1"], ["f2"], 2)


def test_a_job_that_runs_again_meanwhile_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    operator, api = PlayedOperator(tmp_path), Services(Settings(shared_data=tmp_path))
    operator.tells("j", Phase.FINISHED)
    api.index.rescan()
    ended = api.index.get("j")
    operator.tells("j", Phase.QUEUED)
    api.index.rescan()
    monkeypatch.setattr(api.index, "records", lambda: [ended])
    wanted = cleanup.Wanted(keep=frozenset(), older_than_days=0, words=cleanup.checked_words(None))
    assert cleanup.cleaned(api, wanted)["removed"] == []
    assert operator.control.names() == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"keep": "all"}, "keep should be a valid list"),
        ({"older_than_days": -1}, "older_than_days should be greater than or equal to 0"),
        ({"status": ["running"]}, "cannot clean up jobs that are 'running'"),
        ({"dry_run": 0}, "dry_run should be a valid boolean"),
    ],
)
def test_a_cleanup_that_cannot_be_understood_removes_nothing(stage: Stage, body: dict[str, Any], words: str) -> None:
    has(stage, Phase.FINISHED)
    answer = stage.post("/ops/jobs/cleanup", body)
    assert (answer.status_code, words in answer.json()["detail"]) == (400, True)
    assert stage.operator.control.names() == []


@pytest.mark.parametrize("body", [None, {"force": False}, {"force": True}])
def test_the_queue_holds_nothing_that_could_be_cleaned_up(stage: Stage, body: Any) -> None:
    has(stage, Phase.QUEUED)
    told = stage.post("/ops/queue/cleanup", body).json()
    assert (told["removed"], told["would_remove"], told["count"], told["kept"]) == ([], [], 0, ["j"])
    assert stage.word("j") == "queued"
