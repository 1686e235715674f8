"""The queue, and why a job waits: seen from outside, for whatever an operator may have told."""

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from opeva_api.testing import START, Stage, staged
from opeva_specs.status import Phase, Reason
from opeva_specs.terms import Blocker, Demand, Terms

CORE, GIB = 10**9, 2**30
SMALL = Demand(CORE, GIB)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path, min_free_bytes=0, max_jobs_per_user=3) as found:
        found.operator.beats()
        found.operator.has_hosts(local={"capacity": {"jobs": 2, "cpu": 4 * CORE, "memory": 8 * GIB}})
        found.eventually(lambda: "capacity" in found.get("/hosts").json()["hosts"]["local"]["info"])
        yield found


def tells(
    stage: Stage, name: str, phase: Phase = Phase.QUEUED, *, after: float = 0.0, by: str = "ann", **told: Any
) -> None:
    """A job of `by` that was queued so many seconds after the first one, as the operator tells of it."""
    info = {"job_id": name, "job_name": name, "submitted_by": by}
    told = {"reason": "AtCapacity", "demand": SMALL} | told if phase is Phase.QUEUED else told
    stage.operator.tells(name, phase, queued_at=START + timedelta(seconds=after), job_info=info, **told)
    stage.shows(name, phase.word)


def runs(stage: Stage, name: str, *, by: str = "ann", demand: Demand = SMALL) -> None:
    tells(stage, name, Phase.RUNNING, by=by, demand=demand)


def explained(stage: Stage, name: str) -> Any:
    answer = stage.get(f"/explain/{name}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def kinds(told: Any) -> list[str]:
    return [blocker["kind"] for blocker in told["blockers"]]


# -- the queue -------------------------------------------------------------------------------------------------------


def test_the_queue_is_in_the_order_of_the_line(stage: Stage) -> None:
    tells(stage, "late", after=3)
    tells(stage, "early", after=1)
    tells(stage, "urgent", after=5, terms=Terms(priority=7))
    tells(stage, "pausing", after=0, reason="Suspended", terms=Terms(suspend=True))
    runs(stage, "running")
    queue = stage.get("/queue").json()
    assert [row["job_id"] for row in queue] == ["urgent", "early", "late", "pausing"]
    assert queue[1] == {
        "job_id": "early",
        "enqueued_at": START.timestamp() + 1,
        "preferred_host": "local",
        "require_host": True,
        "priority": 0,
        "submitted_by": "ann",
    }


def test_who_has_less_running_comes_first(stage: Stage) -> None:
    runs(stage, "running", by="ann")
    tells(stage, "of-ann", after=1, by="ann")
    tells(stage, "of-bob", after=2, by="bob")
    assert [row["job_id"] for row in stage.get("/queue").json()] == ["of-bob", "of-ann"]
    assert explained(stage, "of-ann")["position"] == 2


def test_what_a_client_submits_stands_in_the_queue_at_once_with_its_notes(stage: Stage) -> None:
    body = {"config": {}, "submitted_by": "ann", "target_worker_profile": "gpu", "priority": 3}
    job_id = stage.post("/run-simulation", body).json()["job_id"]
    row = stage.get("/queue").json()[0]
    assert (row["job_id"], row["target_worker_profile"], row["priority"]) == (job_id, "gpu", 3)


def test_a_job_that_is_to_be_stopped_is_in_the_queue_no_more(stage: Stage) -> None:
    tells(stage, "a")
    stage.post("/stop/a")
    assert stage.get("/queue").json() == []


def test_an_empty_queue_is_a_list(stage: Stage) -> None:
    assert stage.get("/queue").json() == []


# -- why -------------------------------------------------------------------------------------------------------------


def test_every_blocker_is_told_at_once_with_figures(stage: Stage) -> None:
    runs(stage, "r1", demand=Demand(2 * CORE, 6 * GIB))
    runs(stage, "r2", demand=Demand(CORE, GIB))
    tells(stage, "first", after=1, by="bob")
    tells(stage, "big", after=2, demand=Demand(3 * CORE, 2 * GIB))
    told = explained(stage, "big")
    assert kinds(told) == ["AtCapacity", "CpuShort", "MemoryShort", "Ahead"]
    assert (told["status"], told["position"], told["host"]) == ("queued", 2, "local")
    assert told["queued_since"] == START.timestamp() + 2
    cpu = told["blockers"][1]
    assert cpu["details"] == {"host": "local", "needed": 3 * CORE, "free": CORE, "total": 4 * CORE, "short": 2 * CORE}
    assert "needs 3 CPUs" in cpu["message"]
    assert "r1" in cpu["unblocks"]
    assert (told["blockers"][3]["details"]["count"], "first" in told["blockers"][3]["message"]) == (1, True)
    first = told["blockers"][0]["message"]
    assert told["message"] == f"{first[:1].upper()}{first[1:]}; and 3 more reasons."


def test_what_comes_free_changes_the_answer_without_a_new_status_of_the_one_that_waits(stage: Stage) -> None:
    runs(stage, "r1")
    runs(stage, "r2")
    tells(stage, "a")
    assert kinds(explained(stage, "a")) == ["AtCapacity"]
    tells(stage, "r1", Phase.FINISHED)
    told = explained(stage, "a")
    assert (told["blockers"], told["position"]) == ([], 1)
    assert "its turn" in told["message"] or "this job's turn" in told["message"]


def test_a_job_larger_than_the_host_is_told_so_and_holds_nobody_up(stage: Stage) -> None:
    tells(stage, "huge", after=0, demand=Demand(64 * CORE, GIB))
    tells(stage, "small", after=1)
    assert kinds(explained(stage, "huge")) == ["TooLarge"]
    assert explained(stage, "small")["blockers"] == []


def test_a_users_cap_is_told(stage: Stage) -> None:
    stage.operator.has_hosts(local={"capacity": {"jobs": 9}})
    for n in range(3):
        runs(stage, f"r{n}", by="ann")
    tells(stage, "a", by="ann")
    stage.eventually(lambda: kinds(explained(stage, "a")) == ["UserCap"])
    assert explained(stage, "a")["blockers"][0]["details"] == {"user": "ann", "running": 3, "limit": 3}


def test_a_bound_on_passing_is_told_as_the_operator_counted_it(tmp_path: Path) -> None:
    with staged(tmp_path, max_bypass=2) as stage:
        stage.operator.has_hosts(local={"capacity": {"jobs": 9, "cpu": 4 * CORE}})
        stage.eventually(lambda: "capacity" in stage.get("/hosts").json()["hosts"]["local"]["info"])
        runs(stage, "r", demand=Demand(2 * CORE, GIB))
        tells(stage, "big", after=0, demand=Demand(4 * CORE, GIB))
        tells(stage, "small", after=1)
        assert kinds(explained(stage, "small")) == []
        kept = Blocker(kind=Reason.RESERVED, message="kept", details={"for": "big", "passed": 2})
        tells(stage, "other", after=2, blockers=(kept,))
        assert kinds(explained(stage, "small")) == ["Reserved"]
        assert "Reserved" in kinds(explained(stage, "other"))
        assert explained(stage, "small")["blockers"][0]["details"] == {"for": "big", "passed": 2}


@pytest.mark.parametrize(
    "kind",
    ["Suspended", "BackOff", "ConfigMissing", "DatasetMissing", "HostUnknown", "HostUnusable", "NetworkMissing",
     "Pulling", "EngineUnreachable", "Held", "PreviousRunUnknown"],
)  # fmt: skip
def test_what_lies_around_a_job_is_told_as_the_operator_saw_it_and_capacity_beside_it(stage: Stage, kind: str) -> None:
    runs(stage, "r1")
    runs(stage, "r2")
    blocker = Blocker(kind=kind, message="it is so", unblocks="it is otherwise", details={"x": 1})
    old = Blocker(kind="MemoryShort", message="an hour ago")
    tells(stage, "a", reason=kind, message="it is so", blockers=(blocker, old))
    tells(stage, "behind", after=1)
    told = explained(stage, "a")
    assert told["blockers"][0] == {
        "kind": kind,
        "message": "it is so",
        "unblocks": "it is otherwise",
        "details": {"x": 1},
    }
    assert kinds(told) == [kind, "AtCapacity"]
    assert told["position"] is None
    assert explained(stage, "behind")["position"] == 1


def test_a_full_disk_holds_all_alike_and_leaves_their_order(stage: Stage) -> None:
    full = Blocker(kind="DiskPressure", message="full")
    tells(stage, "a", reason="DiskPressure", blockers=(full,))
    tells(stage, "b", after=1, reason="DiskPressure", blockers=(full,))
    assert (kinds(explained(stage, "a")), explained(stage, "a")["position"]) == (["DiskPressure"], 1)
    assert (kinds(explained(stage, "b")), explained(stage, "b")["position"]) == (["DiskPressure", "Ahead"], 2)


def test_a_reason_that_stands_alone_is_a_blocker_too(stage: Stage) -> None:
    at = START + timedelta(seconds=40)
    tells(stage, "a", reason="BackOff", message="try 2 begins at 12:00:40", retry_at=at)
    told = explained(stage, "a")
    assert kinds(told) == ["BackOff"]
    assert told["blockers"][0]["details"] == {"retryAt": "2026-01-31T12:00:40.000000Z"}
    assert told["message"] == "Try 2 begins at 12:00:40."


def test_while_nobody_knows_the_host_what_the_operator_saw_is_told(stage: Stage) -> None:
    seen = Blocker(kind="CpuShort", message="an hour ago")
    tells(stage, "a", host="away", blockers=(seen,))
    assert kinds(explained(stage, "a")) == ["CpuShort"]
    tells(stage, "b", host="away", blockers=())
    assert "until the operator has looked" in explained(stage, "b")["message"]


def test_a_host_out_of_reach_still_has_its_line(stage: Stage) -> None:
    away = {"online": False, "usable": False, "message": "no route", "capacity": {"jobs": 1}}
    stage.operator.has_hosts(local={}, far=away)
    stage.eventually(lambda: "far" in stage.get("/hosts").json()["hosts"])
    tells(stage, "r", Phase.RUNNING, host="far")
    gone = Blocker(kind="EngineUnreachable", message="no route")
    tells(stage, "a", host="far", reason="EngineUnreachable", blockers=(gone,))
    assert kinds(explained(stage, "a")) == ["EngineUnreachable", "AtCapacity"]


def test_each_host_has_its_own_line(stage: Stage) -> None:
    stage.operator.has_hosts(local={"capacity": {"jobs": 1}}, other={})
    stage.eventually(lambda: "other" in stage.get("/hosts").json()["hosts"])
    runs(stage, "r")
    tells(stage, "here")
    tells(stage, "there", after=1, host="other")
    assert kinds(explained(stage, "here")) == ["AtCapacity"]
    assert (kinds(explained(stage, "there")), explained(stage, "there")["position"]) == ([], 1)


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.QUEUED])
def test_a_job_that_does_not_wait_says_how_it_is(stage: Stage, phase: Phase) -> None:
    tells(stage, "a", phase, reason="OutOfMemory" if phase is Phase.FAILED else phase.value, message="as it is")
    told = explained(stage, "a")
    assert (told["status"], told["blockers"], told["position"]) == (phase.word, [], None)
    assert told["message"].endswith(": as it is.")
    assert phase is not Phase.FAILED or told["message"].startswith("The job is failed (OutOfMemory)")


def test_a_job_that_was_submitted_just_now_is_explained(stage: Stage) -> None:
    runs(stage, "r1")
    runs(stage, "r2")
    job_id = stage.post("/run-simulation", {"config": {}, "resources": {"cpu": 3}}).json()["job_id"]
    told = explained(stage, job_id)
    assert (kinds(told), told["reason"], told["position"]) == (["AtCapacity", "CpuShort"], "NotSeenYet", 1)


def test_an_unknown_job_is_not_explained(stage: Stage) -> None:
    assert stage.get("/explain/nobody").status_code == 404
    assert stage.get("/explain/..%2f..").status_code == 404


def test_without_an_operator_the_answer_says_so(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        tells(stage, "a")
        assert "never been heard of" in explained(stage, "a")["note"]


def test_a_thousand_waiting_jobs_are_explained_quickly(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        for n in range(1000):
            demand, info = Demand(CORE * (1 + n % 7), GIB), {"submitted_by": f"user{n % 200}"}
            told = {"demand": demand, "job_info": info, "terms": Terms(priority=n % 5), "reason": "AtCapacity"}
            stage.operator.tells(f"j{n:04}", Phase.QUEUED, queued_at=START + timedelta(seconds=n), **told)
        runs(stage, "r")
        stage.operator.has_hosts(local={"capacity": {"jobs": 1}})
        stage.eventually(lambda: len(stage.get("/queue").json()) == 1000, seconds=30)
        stage.eventually(lambda: "capacity" in stage.get("/hosts").json()["hosts"]["local"]["info"])
        times = []
        for n in range(0, 1000, 10):
            began = time.perf_counter()
            told = explained(stage, f"j{n:04}")
            times.append(time.perf_counter() - began)
            assert told["position"] is not None
            assert "AtCapacity" in kinds(told)
        assert sorted(times)[94] < 0.05


# -- a spec that is not submitted yet --------------------------------------------------------------------------------


def preview(stage: Stage, **spec: Any) -> Any:
    job = {"apiVersion": "opeva.io/v1", "kind": "SimulationJob", "metadata": {"name": "new"}, "spec": spec}
    answer = stage.post("/specs/explain", job)
    assert answer.status_code == 200, answer.text
    assert stage.get("/jobs", params={"status": "queued", "limit": 5000}).json() == [] or "note" not in answer.json()
    return answer.json()


def test_a_spec_with_nothing_in_its_way(stage: Stage) -> None:
    told = preview(stage, config={"a": 1})
    assert (told["job_id"], told["blockers"], told["position"], told["host"]) == ("new", [], 1, "local")
    assert stage.get("/jobs").json() == []
    assert stage.get("/queue").json() == []


def test_a_spec_joins_the_line_at_its_end_and_disturbs_nobody(stage: Stage) -> None:
    runs(stage, "r1")
    runs(stage, "r2")
    tells(stage, "a", by="bob")
    before = explained(stage, "a")
    told = preview(stage, config={}, submittedBy="ann", resources={"cpu": "100"})
    assert "TooLarge" in kinds(told)
    told = preview(stage, config={}, submittedBy="ann", resources={"cpu": 1})
    assert (kinds(told), told["position"]) == (["AtCapacity", "Ahead"], 2)
    assert explained(stage, "a") == before


@pytest.mark.parametrize(
    ("spec", "kind", "words"),
    [
        pytest.param({"configPath": "none.yaml"}, "ConfigMissing", "no config 'none.yaml'", id="config"),
        pytest.param({"configPath": "torn.yaml"}, "ConfigMissing", "not readable YAML", id="torn config"),
        pytest.param({"configPath": "data.yaml"}, "DatasetMissing", "datasets/zug", id="data set"),
        pytest.param(
            {"config": {"simulator": {"dataset_path": "/data/datasets/zug/schema.json"}}}, "DatasetMissing", "zug",
            id="data set of an inline config",
        ),
        pytest.param({"config": {}, "targetHost": "moon"}, "HostUnknown", "only 'broken', 'far', 'local'", id="host"),
        pytest.param({"config": {}, "targetHost": "broken"}, "HostUnusable", "another volume", id="unusable host"),
        pytest.param({"config": {}, "targetHost": "far"}, "EngineUnreachable", "cannot be reached", id="away"),
        pytest.param({"config": {}, "suspend": True}, "Suspended", "suspend", id="suspended"),
        pytest.param({"config": {}, "network": "host"}, "PolicyDenied", "network 'host'", id="policy"),
        pytest.param({"config": {}, "image": "other:v1"}, "Pulling", "is fetched first", id="image"),
        pytest.param({"config": {}, "imagePullPolicy": "Always"}, "Pulling", "is fetched first", id="always"),
        pytest.param(
            {"config": {}, "image": "other:v1", "imagePullPolicy": "Never"}, "ImagePullFailed", "forbids", id="never"
        ),
    ],
)  # fmt: skip
def test_what_a_spec_lacks_is_told_before_it_is_submitted(
    stage: Stage, spec: dict[str, Any], kind: str, words: str
) -> None:
    stage.operator.writes("configs/torn.yaml", "{a: [")
    stage.operator.writes("configs/data.yaml", "simulator: {dataset_path: /data/datasets/zug/schema.json}\n")
    away = {"online": False, "message": "no route"}
    broken = {"usable": False, "message": "has another volume"}
    stage.operator.has_hosts(local={}, far=away, broken=broken)
    row = {
        "name": "calof/opeva_simulator:latest",
        "id": "sha256:1",
        "digest": None,
        "hosts": ["local", "far", "broken"],
    }
    stage.operator.writes("state/images.json", {"at": "2026-01-31T12:00:00Z", "images": [row]})
    stage.eventually(lambda: "far" in stage.get("/hosts").json()["hosts"])
    told = preview(stage, **spec)
    assert kinds(told) == [kind]
    assert words in told["blockers"][0]["message"]
    assert (told["reason"], told["position"]) == (kind, None)


def test_all_that_a_spec_lacks_is_told_together(tmp_path: Path) -> None:
    with staged(tmp_path, min_free_bytes=2**62) as stage:
        told = preview(stage, configPath="none.yaml", targetHost="moon", suspend=True)
        assert kinds(told) == ["Suspended", "ConfigMissing", "HostUnknown", "DiskPressure"]
        assert "never been heard of" in told["note"]


def test_a_spec_of_a_job_that_is_there_says_what_it_would_be(stage: Stage) -> None:
    runs(stage, "new")
    assert "next run" in preview(stage, config={})["note"]


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("a: [", 400, "line 2, column 1"),
        ("", 400, "holds no job"),
        ("apiVersion: opeva.io/v1\nkind: SimulationJob\nmetadata: {name: a}\nspec: {cofig: {}}\n", 400, "spec.cofig"),
        (
            "apiVersion: opeva.io/v1\nkind: SimulationJob\nmetadata: {name: a}\nspec: {args: []}\n---\n"
            "apiVersion: opeva.io/v1\nkind: SimulationJob\nmetadata: {name: b}\nspec: {args: []}\n",
            400,
            "2 jobs",
        ),
    ],
)
def test_a_text_that_is_no_spec_is_refused_with_a_sentence(stage: Stage, text: str, status: int, words: str) -> None:
    answer = stage.client.post("/specs/explain", content=text, headers={"Content-Type": "application/yaml"})
    assert answer.status_code == status
    assert words in answer.json()["detail"]
    json.dumps(answer.json())


def test_a_spec_must_be_sent_as_yaml_or_json(stage: Stage) -> None:
    assert stage.client.post("/specs/explain", content="x").status_code == 415
